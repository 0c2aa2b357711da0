#!/usr/bin/env bash
# How the built-in model was made. Needs spanqa, a GPU, Python with torch, numpy and safetensors, and the data that README.md names.
#
#     models/builtin/recipe.sh DATA OUT
#
# DATA holds squad.json, nq.jsonl, tydiqa.jsonl, policyqa.jsonl, covid.jsonl and qamr.jsonl, as mix.py makes them, and mpnet, a folder with
# all-mpnet-base-v2 whose words stand in the order of BERT's vocabulary.
set -euo pipefail
data=$1 out=$2
here=$(cd "$(dirname "$0")" && pwd)
everyday=$here/../../tests/everyday/train.json.gz

lay() {
    spanqa train --base builtin --objective joint --lay-only --data "$2" --out "$out/$1" "${@:3}"
}
# The same questions as `ask` reads them, and in windows of 384 with other crops: they take turns.
for name in squad.json nq.jsonl tydiqa.jsonl policyqa.jsonl; do
    lay "${name%.*}-a" "$data/$name" --read 3 --crop 0.15 --seed 112
    lay "${name%.*}-b" "$data/$name" --read 3 --crop 0.15 --seed 113 --window 384
done
lay covid-a "$data/covid.jsonl" --read 3 --crop 0.15 --seed 112
lay qamr-a "$data/qamr.jsonl" --read 3 --seed 112
lay everyday-a "$everyday" --read 3 --crop 0.15 --seed 112
lay everyday-b "$everyday" --read 4 --crop 0.15 --seed 113

both() { printf '%s,%s' "$out/$1-a/windows.safetensors" "$out/$1-b/windows.safetensors"; }
learn() {
    python3 "$here/train.py" "$@" --data "$(both squad)@1@0.8" "$(both everyday)@2.6" "$(both nq)" "$(both tydiqa)" "$(both policyqa)@0.3" \
        "$out/covid-a/windows.safetensors" "$out/qamr-a/windows.safetensors@0.25"
}
# Two students without a teacher, whose mean is where the last one starts.
learn --base "$here" --out "$out/one" --seconds 105 --rate 2e-4 --seed 1
learn --base "$here" --out "$out/two" --seconds 105 --rate 3.5e-4 --seed 2 --tokens-per-step 32768
python3 - "$out" <<'END'
import sys
from safetensors.torch import load_file, save_file
one, two = (load_file(f"{sys.argv[1]}/{name}/model.safetensors") for name in ("one", "two"))
save_file({name: (one[name].float() + two[name].float()) / 2 for name in one}, f"{sys.argv[1]}/one/model.safetensors", {"format": "pt"})
END
learn --base "$data/mpnet" --out "$out/teacher" --seconds 105 --rate 6e-5 --seed 3
learn --base "$out/one" --teacher "$out/teacher" --out "$out/next" --seconds 110 --rate 2e-4 --seed 5
spanqa models pack "$out/next" "$out/packed.safetensors"
