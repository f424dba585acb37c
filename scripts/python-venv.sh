# Sourced by *-env.sh. make_venv <name> <requirement>…: makes .cache/<name> hold exactly these packages and prints its python.
make_venv() {
  root=$(cd "$(dirname "$0")/.." && pwd)
  venv="$root/.cache/$1"
  shift
  wanted=$(printf '%s\n' "$@")
  if [ "$(cat "$venv/.requirements" 2>/dev/null || true)" = "$wanted" ]; then
    echo "$venv/bin/python"
    return
  fi
  if ! command -v python3 >/dev/null || ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    # Plain Debian has python3 without the venv module.
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
      { apt-get update -q && apt-get install -y -q --no-install-recommends python3 python3-venv; } >&2
    elif command -v python3 >/dev/null && python3 -m pip --version >/dev/null 2>&1; then
      python3 -m pip install -q --user --break-system-packages virtualenv >&2
    else
      echo "python-venv.sh: python3 with venv is missing (Debian: apt-get install python3-venv)" >&2
      exit 1
    fi
  fi
  mkdir -p "$root/.cache"
  # One installer at a time: several test files may ask at once.
  exec 9>"$venv.lock"
  flock 9
  if [ "$(cat "$venv/.requirements" 2>/dev/null || true)" != "$wanted" ]; then
    { python3 -m venv "$venv" 2>/dev/null || python3 -m virtualenv "$venv"; } >&2
    "$venv/bin/python" -m pip install -q --disable-pip-version-check "$@" >&2
    printf '%s\n' "$wanted" >"$venv/.requirements"
  fi
  flock -u 9
  echo "$venv/bin/python"
}
