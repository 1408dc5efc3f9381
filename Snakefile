# credit: papers on credit assignment without backpropagation, from data sets to figures.
#
#   snakemake --cores all all                          everything, as published
#   snakemake --cores all --configfile config/quick.yaml -- all  everything in minutes, results/quick/
#   snakemake --cores 8 results/figures/fig3.pdf       one figure
#   snakemake --profile slurm all                      on a cluster
from snakemake.utils import min_version

min_version("9.0")


include: "workflow/rules/place.smk"


configfile: CONFIG / "config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/bench.smk"


localrules:
    all,


rule all:
    default_target: True
    input:
        all_targets(),


# One target per paper, and `cross` for the figures across papers: snakemake --cores all cross
for paper in WORKFLOW.papers:

    rule:
        name:
            paper
        input:
            with_records(WORKFLOW.artefact_paths(paper)),
        localrule: True


onstart:
    collect_garbage_again()
    STOP.watch()
    announce()


onsuccess:
    PROGRESS.end()


onerror:
    print(last_words())


# A space more in a rule's command is no other command: what is run stays as written, what is remembered has one form.
for each in workflow.rules:
    if each.shellcmd:
        each.shellcmd = plain(each.shellcmd)
