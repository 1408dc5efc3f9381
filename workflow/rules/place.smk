# Where the checkout is, also when another workflow uses this one as a module, and whose `config/` counts.
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

CHECKOUT = Path(str(workflow.current_basedir)).parents[1]
if not (CHECKOUT / "src" / "credit").is_dir():
    raise WorkflowError(
        f"{workflow.current_basedir}: credit runs from a checkout on this machine; clone it, and name its file: "
        'snakefile: "FOLDER/Snakefile"'
    )
if workflow.modifier.path_modifier and workflow.modifier.path_modifier.prefix:
    raise WorkflowError("module: prefix: results of credit are always below results/; leave it out, or use --directory")

sys.path.insert(0, str(CHECKOUT / "src"))

from credit.config.place import config_folder

IS_MODULE = Path(workflow.basedir).resolve() != CHECKOUT.resolve()
try:
    CONFIG = config_folder(CHECKOUT, IS_MODULE)
except ValueError as error:
    raise WorkflowError(str(error)) from None
