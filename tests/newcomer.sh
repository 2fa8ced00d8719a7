#!/bin/sh
# What somebody does who has just found this repository: clone, run, change a threshold, check, test, plan, see the difference.
#
#   tests/newcomer.sh                the whole way, as the README says it: sets up an environment of its own
#   tests/newcomer.sh PATH/TO/.venv  with an environment that is there already; nothing is installed
#
# Ends with 0 when each step did what the README promises. Works in a clone of its own, which it removes.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'newcomer: %s\n' "$*" >&2; exit 1; }

say "git clone"
git clone --quiet "$here" "$place/tocsin"
cd "$place/tocsin"

if [ $# -gt 0 ]; then
  venv=$(cd "$1" && pwd)
  # The clone's own package, and make believes that the environment is ready.
  PYTHONPATH=$(pwd)
  export PYTHONPATH
  ready="-o $venv/.ready"
else
  venv=.venv
  ready=
fi
tocsin() { "$venv/bin/tocsin" "$@"; }

say "make run"
# shellcheck disable=SC2086 (two words or none)
make --no-print-directory run VENV="$venv" $ready ARGS="--story recovers --speed 0 --output json" > run.json
grep -q '"' run.json || fail "make run shows nothing"

say "tocsin check, as it was cloned"
tocsin check
tocsin plan --base HEAD > before.txt

say "a threshold is edited in tocsin.yaml"
cat >> tocsin.yaml <<'YAML'
tuning:
  high_error_rate: { when: { above: 10% } }
YAML

say "tocsin check"
tocsin check

say "tocsin test"
# The scenarios of that rule were written for 5%, and say so now.
if tocsin test --run '^high_error_rate:' > test.txt; then
  fail "tocsin test does not notice another threshold"
fi
grep -q 'FAIL high_error_rate' test.txt || fail "tocsin test does not name the rule"
tocsin test --run '^(p95_latency|hitl_misconfigured):'

say "tocsin plan"
tocsin plan --base HEAD > after.txt || [ $? -eq 1 ] || fail "tocsin plan cannot compare"
grep -q 'high_error_rate' after.txt || fail "tocsin plan does not name the rule that changed"
grep -q '10%' after.txt || fail "tocsin plan does not show the new threshold"
if cmp -s before.txt after.txt; then fail "tocsin plan shows no difference"; fi

say "the difference"
diff before.txt after.txt || true
say "done"
