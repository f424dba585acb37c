#!/bin/sh
# Makes .cache/spark (PySpark) and .cache/spark/jars (the Iceberg runtime for it, and the driver with which Iceberg's JDBC catalog
# opens a catalog.db), pinned. Prints the path of its python.
# Needs a JDK 17 or 21 and Maven: installed when root on Debian, asked for otherwise.
set -eu
. "$(dirname "$0")/python-venv.sh"

artifacts='org.apache.iceberg:iceberg-spark-runtime-4.1_2.13:1.12.0 org.xerial:sqlite-jdbc:3.50.3.0'
for tool in java mvn; do
  command -v "$tool" >/dev/null && continue
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    { apt-get update -q && apt-get install -y -q --no-install-recommends openjdk-17-jre-headless maven; } >&2
  else
    echo "spark-env.sh: '$tool' is missing; install a JDK 17 and Maven (Debian: apt-get install openjdk-17-jre-headless maven)" >&2
    exit 1
  fi
done

python=$(make_venv spark pyspark==4.1.4)
jars=$(dirname "$(dirname "$python")")/jars
if [ "$(cat "$jars/.artifacts" 2>/dev/null || true)" != "$artifacts" ]; then
  rm -rf "$jars"
  mkdir -p "$jars"
  for artifact in $artifacts; do
    (cd / && mvn -B -ntp -q org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy -Dartifact="$artifact" -DoutputDirectory="$jars") >&2
  done
  printf '%s\n' "$artifacts" >"$jars/.artifacts"
fi
echo "$python"
