"""Logits files of workers: reading them and saying how far two engines are apart."""

import numpy

# A difference in f32 comes from the order of sums alone.
F32_TOLERANCE = 2e-3


def read_rows(path, lengths):
    """Start and end logits of every window, one array each."""
    values = numpy.fromfile(path, "<f4")
    if len(values) != 2 * sum(lengths):
        raise ValueError(f"{len(values)} logits for {sum(lengths)} tokens, of which each should have two")
    ends = numpy.cumsum([length for length in lengths for _ in range(2)])
    return numpy.split(values, ends[:-1])


def compare(reference, found):
    """{"largest", "correlation", "same_argmax"} of two results of read_rows."""
    left, right = numpy.concatenate(reference), numpy.concatenate(found)
    if not numpy.isfinite(right).all():
        raise ValueError("logits that are not numbers")
    same = [a.argmax() == b.argmax() for a, b in zip(reference, found)]
    return {
        "largest": float(abs(left - right).max()),
        "correlation": float(numpy.corrcoef(left, right)[0, 1]),
        "same_argmax": float(numpy.mean(same)),
    }


def disagreement(dtype, agreement):
    """Why these logits do not count, or None. Int8 is only reported, unless it has lost the signal altogether."""
    if dtype == "f32":
        if agreement["largest"] > F32_TOLERANCE or agreement["same_argmax"] < 1:
            return (
                f"logits differ from PyTorch by up to {agreement['largest']:.1e} (allowed {F32_TOLERANCE:.0e}), "
                f"argmax equal in {agreement['same_argmax']:.1%}"
            )
    elif agreement["correlation"] < 0.5:
        return f"logits correlate with PyTorch's f32 by {agreement['correlation']:.2f} only"
    return None
