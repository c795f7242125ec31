"""Stochastic cases of the SBML Test Suite, from every SBML level that is there: |z| < 5 for every mean and standard deviation.

The cases, and exact_refs.json with the exact means, standard deviations and kurtoses, are read from ../shared/sbml-suite if it is there.
"""

import json

import numpy as np
import pytest

from tests.test_semantic_suite import SHARED, settings
from tests.verification.sbml_suite import stochastic

ROOT = SHARED / "stochastic"
FILES = sorted(ROOT.glob("*/*-sbml-*.xml")) if (SHARED / "exact_refs.json").exists() else []
N = 1000


@pytest.mark.skipif(not FILES, reason="needs ../shared/sbml-suite")
def test_stochastic_cases():
    references, wrong = json.loads((SHARED / "exact_refs.json").read_text()), []
    for path in FILES:
        fields, exact = settings(path.parent), references[path.parent.name]
        variables, outputs = ([name.strip() for name in fields[key].split(",")] for key in ("variables", "output"))
        start, duration = float(fields["start"]), float(fields["duration"])
        times = np.linspace(start, start + duration, int(float(fields["steps"])) + 1)
        amounts = stochastic(str(path), times, N, int(path.parent.name), variables)
        if not all(is_right(amounts, variables, output, exact) for output in outputs):
            wrong.append(path.name)
    assert not wrong


def is_right(amounts, variables, output, exact):
    """Judge one column of the results, X-mean, X-sd or those of ln(X); a Cauchy variable has neither."""
    base, kind = output.rsplit("-", 1)
    if base not in exact:
        return True
    mean, sd, kurtosis = (np.array(exact[base][key], dtype=np.float64) for key in ("mean", "sd", "kurt"))
    if base.startswith("ln("):
        with np.errstate(divide="ignore", invalid="ignore"):
            x = np.log(amounts[:, :, variables.index(base[3:-1])])
        x[:, 0] = mean[0]
    else:
        x = amounts[:, :, variables.index(base)]
    certain = sd < 1e-9
    assert np.array_equal(certain, np.ptp(x, axis=0) < 1e-6)
    if not np.allclose(x[:, certain], mean[certain], rtol=1e-9, atol=1e-6):
        return False
    x, mean, sd, kurtosis = x[:, ~certain], mean[~certain], sd[~certain], kurtosis[~certain]
    if kind == "mean":
        z = np.sqrt(N) * (x.mean(axis=0) - mean) / sd
    else:
        z = np.sqrt(N) * (((x - mean) ** 2).mean(axis=0) / sd**2 - 1) / np.sqrt(kurtosis - 1)
    return bool(np.all(np.abs(z) < 5))
