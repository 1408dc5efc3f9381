"""What every script needs first: a package that can be imported, an environment that decides nothing, an end in a line.

The package comes from the checkout, with or without an installed copy. Variables of whoever called (a notebook's
MPLBACKEND, a PYTHONPATH, a number of threads) change neither results nor whether there are any: they are taken away
before anything else is imported. Those of this workflow, CREDIT_..., stay. Ctrl-C ends a script in a line, also while
it still imports.
"""

import os
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
# Of Python, of figures, and of the libraries that calculate. OPENBLAS_CORETYPE, by which a machine's owner keeps an
# OpenBLAS from code that its processor does not run, is the machine's.
TAKEN = (
    *("PYTHON", "MPLBACKEND", "MATPLOTLIB", "TORCH", "PYTORCH", "ATEN_", "NUMBA_", "NPY_", "NUMPY_", "CUBLAS", "CUDNN"),
    *("NVIDIA_TF32", "OMP_", "GOMP_", "KMP_", "GOTO_", "MKL_", "DNNL_", "ONEDNN_", "BLIS_", "NUMEXPR_", "VECLIB_"),
    *("OPENBLAS_NUM_THREADS", "OPENBLAS_DEFAULT_NUM_THREADS"),
)


def _clean() -> None:
    """Take the variables away. Python has read its own by now: it starts again without, in the same process."""
    again = any(name.startswith("PYTHON") for name in os.environ) and not sys.flags.ignore_environment
    for name in [name for name in os.environ if name.startswith(TAKEN)]:
        del os.environ[name]
    os.environ["OMP_NUM_THREADS"] = "1"  # training sets its own
    main = getattr(sys.modules["__main__"], "__file__", None)
    if again and main and Path(main).resolve().parent == FOLDER:
        flags = ["-E", *(["-s"] if sys.flags.no_user_site else []), *(["-B"] if sys.dont_write_bytecode else [])]
        os.execv(sys.executable, [sys.executable, *flags, *sys.argv])


def _hook(kind, error, trace):
    if issubclass(kind, KeyboardInterrupt):
        print("stopped on request; nothing was lost, the same command goes on", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _hook
_clean()
sys.path.insert(0, str(FOLDER.parents[1] / "src"))
