#!/bin/sh
# Puts the SQLite driver for Java into .cache/jdbc and prints its path. Needs Maven, as scripts/spark-env.sh does.
set -eu
version=3.50.3.0
folder=$(cd "$(dirname "$0")/../../.." && pwd)/.cache/jdbc
jar="$folder/sqlite-jdbc-$version.jar"
if [ ! -f "$jar" ]; then
  mkdir -p "$folder"
  part=$(mktemp -d "$folder/part.XXXXXX")
  (cd / && mvn -B -ntp -q org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy \
    "-Dartifact=org.xerial:sqlite-jdbc:$version" "-DoutputDirectory=$part") >&2
  mv "$part/sqlite-jdbc-$version.jar" "$jar"
  rmdir "$part"
fi
echo "$jar"
