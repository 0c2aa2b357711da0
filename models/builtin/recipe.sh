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
# The same questions in windows of 192, as `ask` reads what is longer than a window, and of 384 with other crops: they take turns.
for name in squad.json nq.jsonl tydiqa.jsonl policyqa.jsonl; do
    lay "${name%.*}-a" "$data/$name" --read 3 --crop 0.15 --seed 112 --window 192
    lay "${name%.*}-b" "$data/$name" --read 3 --crop 0.15 --seed 113 --window 384
done
lay covid-a "$data/covid.jsonl" --read 3 --crop 0.15 --seed 112 --window 192
lay qamr-a "$data/qamr.jsonl" --read 3 --seed 112 --window 192
lay everyday-a "$everyday" --read 3 --crop 0.15 --seed 112 --window 192
lay everyday-b "$everyday" --read 4 --crop 0.15 --seed 113 --window 192

both() { printf '%s,%s' "$out/$1-a/windows.safetensors" "$out/$1-b/windows.safetensors"; }
learn() {
    python3 "$here/train.py" "$@" --data "$(both squad)@1@0.8" "$(both everyday)@2.6" "$(both nq)" "$(both tydiqa)" "$(both policyqa)@0.3" \
        "$out/covid-a/windows.safetensors" "$out/qamr-a/windows.safetensors@0.25"
}
mean() {
    mkdir -p "$out/$3"
    python3 - "$out/$1" "$out/$2" "$out/$3" <<'END'
import sys
from safetensors.torch import load_file, save_file
one, two = (load_file(f"{folder}/model.safetensors") for folder in sys.argv[1:3])
mean = {name: ((one[name].float() + two[name].float()) / 2).half() for name in one}
save_file(mean, f"{sys.argv[3]}/model.safetensors", {"format": "pt"})
END
    cp "$here"/*.json "$here/vocab.txt" "$out/$3"
}
pack() {
    mkdir -p "$out/$2"
    cp "$here"/*.json "$here/vocab.txt" "$out/$2"
    spanqa models pack "$out/$1" "$out/$2/model.safetensors"
}
# Two students without a teacher, whose mean is where the next one starts.
learn --base "$here" --out "$out/one" --seconds 105 --rate 2e-4 --seed 1
learn --base "$here" --out "$out/two" --seconds 105 --rate 3.5e-4 --seed 2 --tokens-per-step 32768
mean one two start
learn --base "$data/mpnet" --out "$out/teacher" --seconds 105 --rate 6e-5 --seed 3
learn --base "$out/start" --teacher "$out/teacher" --out "$out/next" --seconds 110 --rate 2e-4 --seed 5
# A better teacher, and from the packed weights a student that learns more from it. Alone it is too sure of itself; their mean is not.
pack next packed
learn --base "$data/mpnet" --out "$out/better" --seconds 190 --rate 6e-5 --seed 4
learn --base "$out/packed" --teacher "$out/better" --teacher-weight 0.7 --out "$out/last" --seconds 160 --rate 2e-4 --tokens-per-step 32768 --seed 6
mean next last both
pack both model
