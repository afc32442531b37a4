#!/bin/sh
# Runs the workloads on nerve and on its peers in turn, prints a table of ratios, draws a picture.
#
#   PEERS=folder bench/run.sh [WORD...]
#
# A word is a workload (A A1 B C D E F G H I rss cold) or a peer (torch jax tf ort burn candle); all
# of a kind if none of it is named. $PEERS keeps the peers' environments, the picture (results.svg)
# and results.tsv, to which all lines are added. ROUNDS (2): how often everything is run in turn.
# BENCH_FAST=1: a quick look, not a measurement.
set -eu
: "${PEERS:?set PEERS to a folder for the environments and results of the peers}"
mkdir -p "$PEERS"
PEERS=$(cd "$PEERS" && pwd)
export PEERS
cd "$(dirname "$0")/.."
: "${ROUNDS:=2}"
# Settings for another library's kernels, which would make a peer slower than it is.
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE

# The modes that are each peer's best, and in which workloads: found by running all of them. With
# `:malloc` the C library is told to keep the memory that was freed, which saves page faults.
plan() {
    cat <<'END'
torch   eager                       A1 B C I rss cold
torch   eager+fused:malloc          B E F H I
torch   eager+cl+fused:malloc       C D G
torch   eager+cl+fused+bf16:malloc  G
torch   eager+fused+bf16:malloc     F
torch   compile+bf16                F
jax     jit                         cold rss
jax     jit+rpool:malloc            B C D F H I
tf      fn                          A C D F G cold rss
tf      xla                         F
ort     run                         A B C E F G
burn    flex                        A B C I cold rss
candle  cpu                         B cold rss
END
}

all_workloads='A A1 B C D E F G H I rss cold'
all_peers='torch jax tf ort burn candle'
workloads='' peers=''
for word; do
    case " $all_workloads | $all_peers " in
    *" $word "*\|*) workloads="$workloads $word" ;;
    *\|*" $word "*) peers="$peers $word" ;;
    *)
        echo "there is neither a workload nor a peer \`$word\`" >&2
        exit 2
        ;;
    esac
done
: "${workloads:=$all_workloads}" "${peers:=$all_peers}"

# The words of the first list that are in the second too.
both() {
    for word in $1; do
        case " $2 " in *" $word "*) printf '%s ' "$word" ;; esac
    done
}

# environment NAME PACKAGE...: a Python environment, made when it is needed for the first time.
environment() {
    name=$1
    shift
    [ -e "$PEERS/venv-$name/complete" ] && return
    echo "setting up $name" >&2
    python3 -m venv "$PEERS/venv-$name"
    "$PEERS/venv-$name/bin/python" -m pip install --quiet "$@"
    touch "$PEERS/venv-$name/complete"
}

set_up() {
    case $1 in
    torch) environment torch torch numpy onnx onnxscript ;;
    jax) environment jax jax optax numpy ;;
    tf) environment tf tensorflow-cpu ;;
    ort)
        environment ort onnxruntime onnx numpy
        # It runs what PyTorch has exported.
        set_up torch
        [ -e "$PEERS/onnx/G_b64.onnx" ] ||
            "$PEERS/venv-torch/bin/python" bench/peers/torch_bench.py eager export >&2
        ;;
    burn | candle)
        (cd "bench/peers/$1" && CARGO_TARGET_DIR="$PEERS/target" RUSTFLAGS='-C target-cpu=native' \
            cargo build --release --quiet)
        ;;
    esac
}

# peer NAME MODE WORD...
peer() {
    name=$1 mode=$2
    shift 2
    case $name in
    burn | candle) program="$PEERS/target/release/bench-$name" ;;
    *) program="$PEERS/venv-$name/bin/python bench/peers/${name}_bench.py" ;;
    esac
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

# Adds the result lines of a command, with a word added to the mode. A peer that fails or does not
# end is told and left out: the others are still worth having.
record() {
    suffix=$1
    shift
    { timeout 900 "$@" || echo "failed: $*" >&2; } | awk -F '\t' -v OFS='\t' -v suffix="$suffix" '
        $1 == "RESULT" { $3 = $3 suffix; print; fflush() }' | tee -a "$PEERS/results.tsv" "$lines"
}

lines=$(mktemp)
trap 'rm -f "$lines"' EXIT
cargo build --release --quiet -p nerve-bench
nerve=${CARGO_TARGET_DIR:-target}/release/nerve-bench
for name in $peers; do set_up "$name"; done
busy=$(awk '$1 > 0.5 { print "yes" }' /proc/loadavg)
[ -z "$busy" ] || echo "others are using this machine: the ratios will mean little" >&2
load=$(cut -d ' ' -f 1 /proc/loadavg)

for round in $(seq "$ROUNDS"); do
    echo "round $round of $ROUNDS" >&2
    plan | while read -r name mode can; do
        [ -n "$(both "$name" "$peers")" ] || continue
        words=$(both "$can" "$workloads")
        [ -n "$words" ] || continue
        # Nerve runs before each mode, so that both meet the machine in the same state.
        # shellcheck disable=SC2086
        case $mode in
        *bf16*) record '' env NERVE_BENCH_BF16=1 "$nerve" $words >&2 </dev/null ;;
        *) record '' "$nerve" $words >&2 </dev/null ;;
        esac
        # shellcheck disable=SC2086
        peer "$name" "$mode" $words >&2 </dev/null
    done
done

processor=$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)
versions=$(cut -f 2 "$lines" | sort -u | tr '\n' ',' | sed 's/,$//; s/,/, /g')
title="$(date +%F), $(nproc) cores of ${processor:-an unknown processor}, $(rustc --version |
    cut -d ' ' -f 1,2), $versions"
printf '\n%s, load %s before\n\n' "$title" "$load"
"$nerve" table "$lines" --svg "$PEERS/results.svg" --title "$title"
