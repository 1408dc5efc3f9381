# Data sets: original files, verified, then one array file each.
MIRROR = shlex.quote(WORKFLOW.settings.mirror or "")
USER_FILES = shlex.quote(WORKFLOW.settings.user_files or "")


rule fetch_dataset:
    output:
        f"{DATA}/raw/{{dataset}}.json",
    log:
        f"{LOGS}/fetch_dataset/{{dataset}}.log",
    benchmark:
        f"{TIMES}/fetch_dataset/{{dataset}}.tsv"
    params:
        spec=fetch_spec,
    conda:
        "../../envs/fetch.yaml"
    localrule: True  # compute nodes often have no internet
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
        gpu=0,
    shell:
        "{PYTHON} {SCRIPTS}/fetch.py {params.spec:q} {output} --mirror {MIRROR} > {log} 2>&1"


rule prepare_dataset:
    input:
        f"{DATA}/raw/{{dataset}}.json",
    output:
        ensure(f"{DATA}/{{dataset}}.npz", non_empty=True),
    log:
        f"{LOGS}/prepare_dataset/{{dataset}}.log",
    benchmark:
        f"{TIMES}/prepare_dataset/{{dataset}}.tsv"
    params:
        spec=prepare_spec,
    conda:
        "../../envs/fetch.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=15,
        gpu=0,
    shell:
        "{PYTHON} {SCRIPTS}/prepare.py {params.spec:q} {input} {output} > {log} 2>&1"
