"""Fits the two numbers of `confidence` in models.toml on several sets of questions, each of which counts the same.

    printf 'model = "builtin"\\nnull_threshold = 0.0\\ntemperature = 1.15\\nconfidence = { slope = 1.0, shift = 0.0 }\\n' > plain.toml
    spanqa eval dev.json --score joint --read 24 --profile plain.toml --report dev
    spanqa eval squad.json --score joint --profile plain.toml --report squad
    python confidence.py dev.json dev squad.json squad

`spanqa tune` does the same for one set. A reply is right from F1 0.5 on. Needs Python alone.
"""

import collections
import json
import math
import re
import string
import sys


def words(text):
    text = "".join(character for character in text.lower() if character not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def is_right(answer, golds):
    if not golds:
        return answer == ""
    said = words(answer)
    for gold in map(words, golds):
        common = sum((collections.Counter(said) & collections.Counter(gold)).values())
        if common and 2 * common / (len(said) + len(gold)) >= 0.5:
            return True
    return False


def replies(data, report):
    """What each reply had of the distribution, as a logit, and whether it was right."""
    with open(data, encoding="utf-8") as file:
        questions = [qa for article in json.load(file)["data"] for part in article["paragraphs"] for qa in part["qas"]]
    golds = {question["id"]: [answer["text"] for answer in question["answers"]] for question in questions}
    found = []
    with open(f"{report}/run.jsonl", encoding="utf-8") as file:
        for line in list(file)[1:]:
            said = json.loads(line)
            if said.get("confidence") is not None:
                held = min(max(said["confidence"], 1e-6), 1 - 1e-6)
                found.append((math.log(held / (1 - held)), float(is_right(said["answer"], golds[said["id"]]))))
    return found


def confidence(logit, slope, shift):
    return 1 / (1 + math.exp(-(slope * logit + shift)))


def surprise(sets, slope, shift):
    """Minus the logarithm of how likely the replies are."""
    total = 0.0
    for found in sets:
        for logit, right in found:
            against = (slope * logit + shift) * (1 - 2 * right)
            total += (max(against, 0) + math.log1p(math.exp(-abs(against)))) / len(found)
    return total


def fit(sets):
    """Logistic regression by Newton's method, in steps that are halved until they lead downwards."""
    slope, shift = 1.0, 0.0
    lowest = surprise(sets, slope, shift)
    for _ in range(50):
        gradient, curve = [0.0, 0.0], [0.0, 0.0, 0.0]
        for found in sets:
            for logit, right in found:
                said = confidence(logit, slope, shift)
                for at, part in enumerate([logit, 1.0]):
                    gradient[at] += (said - right) * part / len(found)
                for at, part in enumerate([logit * logit, logit, 1.0]):
                    curve[at] += said * (1 - said) * part / len(found)
        determinant = curve[0] * curve[2] - curve[1] ** 2
        by_slope = (curve[2] * gradient[0] - curve[1] * gradient[1]) / determinant
        by_shift = (curve[0] * gradient[1] - curve[1] * gradient[0]) / determinant
        steps = [(slope - by_slope / 2**halvings, shift - by_shift / 2**halvings) for halvings in range(40)]
        better = next((step for step in steps if surprise(sets, *step) < lowest), None)
        if better is None:
            break
        slope, shift = better
        lowest = surprise(sets, slope, shift)
    return slope, shift


def calibration_error(found, slope, shift):
    """Over ten bins, as `spanqa eval` has it."""
    bins = [0.0] * 10
    for logit, right in found:
        said = confidence(logit, slope, shift)
        bins[min(int(10 * said), 9)] += said - right
    return sum(map(abs, bins)) / len(found)


def main():
    paths = sys.argv[1:]
    if not paths or len(paths) % 2:
        raise SystemExit(__doc__)
    sets = [replies(data, report) for data, report in zip(paths[::2], paths[1::2])]
    slope, shift = fit(sets)
    print(f"confidence = {{ slope = {slope:.2f}, shift = {shift:.2f} }}")
    slope, shift = round(slope, 2), round(shift, 2)
    for data, found in zip(paths[::2], sets):
        own = fit([found])
        print(
            f"{data}: {len(found)} replies, ECE {calibration_error(found, slope, shift):.3f}, as it is {calibration_error(found, 1, 0):.3f}; "
            f"fitted alone slope {own[0]:.2f}, shift {own[1]:.2f}"
        )


if __name__ == "__main__":
    main()
