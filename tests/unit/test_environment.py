"""Whoever calls decides nothing by variables: what scripts see of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PROBE = """import _src, json, os, sys
found = {"environ": dict(os.environ), "path": sys.path, "argv": sys.argv, "optimize": sys.flags.optimize}
print(json.dumps(found))
"""
INHERITED = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PYTHONPATH": "/nowhere/of/mine", "PYTHONSTARTUP": "/nowhere/startup.py", "PYTHONOPTIMIZE": "2",
    "TORCH_LOGS": "+dynamo", "PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:8", "ATEN_CPU_CAPABILITY": "default",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1", "NVIDIA_TF32_OVERRIDE": "1", "CUBLAS_WORKSPACE_CONFIG": ":0:0",
    "OMP_NUM_THREADS": "7", "MKL_NUM_THREADS": "7", "OPENBLAS_NUM_THREADS": "7", "NUMEXPR_NUM_THREADS": "7",
    "NUMBA_NUM_THREADS": "7", "NUMBA_DISABLE_JIT": "1", "KMP_AFFINITY": "none", "MKL_CBWR": "COMPATIBLE",
    "DNNL_MAX_CPU_ISA": "SSE41", "NPY_DISABLE_CPU_FEATURES": "AVX2", "VECLIB_MAXIMUM_THREADS": "7",
}  # fmt: skip
KEPT = {
    "CREDIT_DATA_MIRROR": "/a/mirror",
    "SCRATCH": "/scratch",
    "CUDA_VISIBLE_DEVICES": "",
    "OPENBLAS_CORETYPE": "Haswell",
}


def seen(folder: Path, *flags: str, **variables: str) -> dict:
    """What a script in `folder` sees."""
    scripts = folder / "workflow" / "scripts"
    scripts.mkdir(parents=True)
    shutil.copy2(REPOSITORY / "workflow" / "scripts" / "_src.py", scripts)
    (scripts / "probe.py").write_text(PROBE, encoding="utf-8")
    own = {"PATH": os.environ["PATH"]} | variables
    command = [sys.executable, *flags, scripts / "probe.py", "a b", "--c"]
    done = subprocess.run(command, env=own, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("flags", [(), ("-E",), ("-E", "-s")])
def test_variables_of_the_caller_are_gone_before_anything_is_imported(tmp_path, flags):
    found = seen(tmp_path, *flags, **INHERITED, **KEPT)
    left = {name: value for name, value in found["environ"].items() if name in INHERITED or name in KEPT}
    assert left == KEPT | {"OMP_NUM_THREADS": "1"}
    assert found["path"][0] == str(tmp_path / "src")
    assert "/nowhere/of/mine" not in found["path"]
    assert found["optimize"] == 0
    assert found["argv"][1:] == ["a b", "--c"]


def test_a_script_sees_the_same_whoever_calls(tmp_path):
    quiet, loud = (seen(tmp_path / name, **given) for name, given in (("quiet", {}), ("loud", INHERITED)))
    for found in (quiet, loud):
        found["environ"].pop("LC_CTYPE", None)  # Python's own, where the locale is C
    assert loud["environ"] == quiet["environ"]
    assert [p.replace("loud", "quiet") for p in loud["path"]] == quiet["path"]


def test_every_script_takes_them_away_first():
    scripts = sorted((REPOSITORY / "workflow" / "scripts").glob("[a-z]*.py"))
    assert scripts
    for script in scripts:
        lines = script.read_text(encoding="utf-8").splitlines()
        imported = [line.split()[1].partition(".")[0] for line in lines if line.startswith(("import ", "from "))]
        assert set(imported[: imported.index("_src")]) <= sys.stdlib_module_names, script
