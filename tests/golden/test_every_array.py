"""No recorded array lies there unread: each is asked for by a golden test, or stands here with the reason why not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tests.golden.recordings import HERE, NOTE

UNUSED = {  # (pattern of file names, pattern of names of arrays): why no test reads them
    ("pc_conv", r"rbp(_last)?_xlr"): "NaN: backpropagation has no nodes",
    (
        "pc_core_.*",
        r"(identity__bias[01]__C|sigmoid__bias[01]__B|reversal)__(x\d_T|xlr_(used|after)_t)",
    ): "rates, and what follows from them, where rounding decides whether the energy falls",
    ("pc_less_erratic", r"(ap|gr)(_lrs|_seeds)?"): "the draws of the hand-coded rules could not be repeated",
    ("di_.*", r"meta\.(n_(input|output|hidden\d?)|seed|num_epochs|w_init_type)"): "said by shapes and recorded draws",
    ("di_.*(regression.*|classification)", r"meta\.num_iters"): "the length of the recorded order",
    ("di_.*regression.*", r"curve\.(BP|FA|PBP|NDI)(-\d)?\.(angles|stability)"): "zeros: measured of DI and SDI alone",
    ("di_nonlinear_regression", r"BP\.it0\.pre\.B2"): "empty",
    ("dtp_drl_(dtp|dtpdrl|ddtprhl)", r"(Q|qb)/\d"): "of a layer without feedback in this rule, never used",
    ("dtp_.*", r"(G0?/|b\d/G_after_feedback/|G_grad/)(conv|layer)_0\..*"): "block 0 has no feedback",
    ("dtp_fbloss_.*", r"cfg/(iters|lrs)"): "of training steps, which are in other files",
    ("pepita_numpy_train", r".*\.train_acc"): "accuracy of training passes, which no result of ours reports",
}


@pytest.mark.slow
def test_every_recorded_array_is_read_by_a_golden_test_or_listed_with_a_reason(tmp_path):
    note = tmp_path / "read.json"
    environment = {**os.environ, NOTE: str(note)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.golden.recordings", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, f"--ignore={__file__}", str(HERE)], cwd=REPOSITORY, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    read, unread, reasons = json.loads(note.read_text()), [], set()
    for path in sorted(HERE.glob("*.npz")):
        with np.load(path) as file:
            left = set(file.files) - set(read.get(path.name, ()))
        for name in sorted(left):
            found = [key for key in UNUSED if re.fullmatch(key[0], path.stem) and re.fullmatch(key[1], name)]
            reasons |= set(found)
            if not found:
                unread.append(f"{path.name}: {name}")
    assert not unread
    assert reasons == set(UNUSED), "a reason for arrays that are not there, or are read"
