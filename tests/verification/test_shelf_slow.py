"""What the catalogue says is exact about the models that take long; see tests/test_shelf_models.py."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
from test_shelf_models import moments

import cme


def test_toggle2():  # R4
    law = cme.fsp(cme.load("toggle2"), [30.0], tol=1e-9)
    assert moments(law, "A") == pytest.approx((39.725209471, 45.16737114), abs=1e-6)
    assert moments(law, "B") == pytest.approx((19.842898617, 21.39620139), abs=1e-6)


def test_goutsias():  # R3
    law = cme.fsp(cme.load("goutsias"), [100.0], tol=1e-6)
    for name, mean in {"M": 7.420114276, "D": 4.4476604, "RNA": 1.604844838, "DNA": 1.672265289}.items():
        assert moments(law, name)[0] == pytest.approx(mean, abs=1e-4)
