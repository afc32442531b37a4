#!/bin/sh
# Runs the workloads on nerve and on PyTorch in turn, and prints a table of ratios.
#
#   PEERS=folder bench/run.sh [WORKLOAD...]       A A1 B C D H I rss cold; all if none is named
#
# $PEERS keeps the peers' environments and results.tsv, to which all lines are added.
# ROUNDS (3): how often everything is run in turn. MODES: modes of the peer, `name` or `name:malloc`
# (glibc told to keep the memory that was freed). BENCH_FAST=1: a quick look.
set -eu
: "${PEERS:?set PEERS to a folder for the environments and results of the peers}"
mkdir -p "$PEERS"
PEERS=$(cd "$PEERS" && pwd)
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- A A1 B C D H I rss cold
: "${ROUNDS:=3}"
: "${MODES:=eager eager+fused eager+cl eager+cl+fused eager:malloc eager+fused:malloc eager+cl+fused:malloc}"
# Settings for another library's kernels, which would make the peer slower than it is.
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE

python=$PEERS/venv-torch/bin/python
if ! "$python" -c 'import torch, numpy' 2>/dev/null; then
    python3 -m venv "$PEERS/venv-torch"
    "$python" -m pip install --quiet torch numpy
fi
cargo build --release --quiet -p nerve-bench
nerve=${CARGO_TARGET_DIR:-target}/release/nerve-bench

lines=$(mktemp)
trap 'rm -f "$lines"' EXIT

# Adds the result lines of a command, with a word added to the mode.
record() {
    suffix=$1
    shift
    "$@" | awk -F '\t' -v OFS='\t' -v suffix="$suffix" '
        $1 == "RESULT" { $3 = $3 suffix; print; fflush() }' | tee -a "$PEERS/results.tsv" "$lines"
}

# peer MODE WORD...
peer() {
    mode=$1
    shift
    program="$python bench/peers/torch_bench.py"
    # shellcheck disable=SC2086
    case $mode in
    *:malloc)
        record ' malloc' env MALLOC_MMAP_THRESHOLD_=4294967296 \
            MALLOC_TRIM_THRESHOLD_=8589934592 MALLOC_TOP_PAD_=268435456 \
            $program "${mode%:malloc}" "$@"
        ;;
    *) record '' $program "$mode" "$@" ;;
    esac
}

# The words of "$@" that a mode can change: channels last is for images, the fused optimizer for
# training; products and the start of a process are measured once.
words_for() {
    of=$1
    shift
    for word; do
        case "$of $word" in
        *cl*\ [CD] | eager\ * | eager:malloc\ [BCDHI] | eager:malloc\ rss) echo "$word" ;;
        *cl*) ;;
        *fused*\ [BCDHI]) echo "$word" ;;
        esac
    done
}

loads="load $(cut -d ' ' -f 1 /proc/loadavg) before"
busy=$(awk '$1 > 0.5 { print "yes" }' /proc/loadavg)
[ -z "$busy" ] || echo "others are using this machine: the ratios will mean little" >&2
for round in $(seq "$ROUNDS"); do
    echo "round $round of $ROUNDS" >&2
    for mode in $MODES; do
        words=$(words_for "$mode" "$@")
        [ -n "$words" ] || continue
        # Nerve runs before each mode, so that both meet the machine in the same state.
        # shellcheck disable=SC2086
        record '' "$nerve" $words >&2
        # shellcheck disable=SC2086
        peer "$mode" $words >&2
    done
done

processor=$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)
echo
echo "$(date +%F), $(nproc) cores of ${processor:-an unknown processor}, $(rustc --version |
    cut -d ' ' -f 1,2), torch $("$python" -c 'import torch; print(torch.__version__)'), $loads"
echo
python3 bench/table.py "$lines"
