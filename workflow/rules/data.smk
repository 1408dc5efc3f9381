# Data sets: original files, verified, then one array file each. The folder may be shared with other checkouts: `update`
# keeps what is there until a job has made it anew, and when the job fails.
rule fetch_dataset:
    output:
        update(f"{DATA}/raw/{{dataset}}.json"),
    log:
        f"{LOGS}/fetch_dataset/{{dataset}}.log",
    benchmark:
        f"{TIMES}/fetch_dataset/{{dataset}}.tsv"
    localrule: True  # compute nodes often have no internet
    conda:
        "../../envs/fetch.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
        gpu=0,
        # Where files come from changes no result, so it is no param.
        mirror=WORKFLOW.settings.mirror or "",
        user_files=user_files,
    params:
        spec=fetch_spec,
    shell:
        "credit_script fetch {params.spec:q} {output:q} --mirror={resources.mirror:q} --user-files={resources.user_files:q} > {log:q} 2>&1"


rule prepare_dataset:
    input:
        f"{DATA}/raw/{{dataset}}.json",
    output:
        ensure(update(f"{DATA}/{{dataset}}.npz"), non_empty=True),
    log:
        f"{LOGS}/prepare_dataset/{{dataset}}.log",
    benchmark:
        f"{TIMES}/prepare_dataset/{{dataset}}.tsv"
    conda:
        "../../envs/fetch.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=15,
        gpu=0,
    params:
        spec=prepare_spec,
    shell:
        "credit_script prepare {params.spec:q} {input:q} {output:q} > {log:q} 2>&1"
