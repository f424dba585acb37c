# Sourced by .ci/run.

started=$SECONDS
passed=0
failed=0
lines=()
failures=()
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# suite <name> <minutes> <command…>: runs the command, at most so long and never beyond $minutes_in_all from the start, and counts.
# Node's test runner says how many passed and failed; any other command counts as one.
suite() {
  local name=$1 minutes=$2
  shift 2
  local seconds=$((minutes * 60)) left=$((minutes_in_all * 60 - (SECONDS - started)))
  [ "$left" -lt "$seconds" ] && seconds=$left
  local log="$logs/$((${#lines[@]} + 1)).log" from=$SECONDS code=0
  echo "== $name"
  if [ "$seconds" -gt 0 ]; then
    timeout --kill-after=30 "$seconds" "$@" 2>&1 | tee "$log"
    code=${PIPESTATUS[0]}
  else
    code=124
    : >"$log"
  fi
  local good bad
  good=$(counted pass "$log")
  bad=$(($(counted fail "$log") + $(counted cancelled "$log")))
  if [ "$good" = 0 ] && [ "$bad" = 0 ] && [ "$code" = 0 ]; then good=1; fi
  # A command that fails without a failed test (types, format, a time-out, a crash) is a failure as well.
  if [ "$bad" = 0 ] && [ "$code" != 0 ]; then bad=1; fi
  passed=$((passed + good))
  failed=$((failed + bad))
  local how="$good passed, $bad failed"
  [ "$code" = 124 ] && how="$how, out of time"
  [ "$bad" = 0 ] || failures+=("$name" "$log")
  lines+=("$(printf '%-28s %5d s  %s' "$name" "$((SECONDS - from))" "$how")")
}

# The sum of the runner's closing lines, "ℹ pass 12" or "# pass 12".
counted() {
  sed -nE "s/^(ℹ|#) $1 ([0-9]+)\$/\2/p" "$2" | awk '{ sum += $1 } END { print sum + 0 }'
}

# What a failed command said of it: the runner's closing list, or its last lines.
excerpt() {
  if grep -q '^✖ failing tests:$' "$1"; then sed -n '/^✖ failing tests:$/,$p' "$1" | head -n 80; else tail -n 40 "$1"; fi | cut -c 1-600
}

# Prints what failed again, then what was counted; the closing line is the last one. Ends with 1 when anything failed.
summary() {
  local i
  for ((i = 0; i < ${#failures[@]}; i += 2)); do
    echo
    echo "== failed: ${failures[i]}"
    excerpt "${failures[i + 1]}"
  done
  echo
  printf '%s\n' "${lines[@]}"
  echo "$(((SECONDS - started) / 60)) minutes"
  echo "$passed passed, $failed failed"
  [ "$failed" = 0 ]
}
