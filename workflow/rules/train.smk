# Training: a hyperparameter search where an experiment asks for one, then one job per shard of seeds. `update` keeps what
# is there until a job has made it anew, and when the job fails; that it is stale is seen by its header then (`judge`).
rule search_settings:
    input:
        search_inputs,
    output:
        ensure(update(f"{RESULTS}/runs/{{paper}}/{{experiment}}/{{dataset}}/{{method}}/choice.json"), non_empty=True),
    log:
        f"{LOGS}/search_settings/{{paper}}/{{experiment}}/{{dataset}}/{{method}}.log",
    benchmark:
        f"{TIMES}/search_settings/{{paper}}/{{experiment}}/{{dataset}}/{{method}}.tsv"
    wildcard_constraints:
        paper=papers_searching(sampled=False),
    conda:
        "../../envs/train.yaml"
    threads: train_threads
    resources:
        mem_mb=train_mem_mb,
        runtime=train_runtime,
        gpu=TRAIN_GPU,
        device=WORKFLOW.settings.device,
    params:
        spec=search_spec,
    shell:
        "credit_script search {params.spec:q} {output:q} {input:q} --device {resources.device} --store results/store > {log:q} 2>&1"


# As `search_settings`, where the points to try are drawn; what draws them is in an environment of its own.
if SAMPLED:

    rule sample_settings:
        input:
            search_inputs,
        output:
            ensure(
                update(f"{RESULTS}/runs/{{paper}}/{{experiment}}/{{dataset}}/{{method}}/choice.json"), non_empty=True
            ),
        log:
            f"{LOGS}/sample_settings/{{paper}}/{{experiment}}/{{dataset}}/{{method}}.log",
        benchmark:
            f"{TIMES}/sample_settings/{{paper}}/{{experiment}}/{{dataset}}/{{method}}.tsv"
        wildcard_constraints:
            paper=papers_searching(sampled=True),
        conda:
            "../../envs/search.yaml"
        threads: train_threads
        resources:
            mem_mb=train_mem_mb,
            runtime=train_runtime,
            gpu=TRAIN_GPU,
            device=WORKFLOW.settings.device,
        params:
            spec=search_spec,
        shell:
            "credit_script sample {params.spec:q} {output:q} {input:q} --device {resources.device} --store results/store > {log:q} 2>&1"


# A rule for each set of files that jobs keep beside their result: what a rule makes, and for which cells, must be known
# when the workflow is read. The first is `train`, which keeps nothing; weights always have theirs, others where asked for.
for keep in dict.fromkeys([(), ("weights",), *WORKFLOW.keeping]):

    rule:
        name:
            "_".join(["train", *(["keeping", *keep] if keep else [])])
        input:
            train_inputs,
        output:
            **results_keeping(keep),
        log:
            f"{LOGS}/train/{{paper}}/{{experiment}}/{{dataset}}/{{method}}/shard{{shard}}.log",
        benchmark:
            f"{TIMES}/train/{{paper}}/{{experiment}}/{{dataset}}/{{method}}/shard{{shard}}.tsv"
        wildcard_constraints:
            paper=papers_keeping(keep),
        conda:
            "../../envs/train.yaml"
        threads: train_threads
        resources:
            mem_mb=train_mem_mb,
            runtime=train_runtime,
            gpu=TRAIN_GPU,
            device=WORKFLOW.settings.device,
        params:
            spec=train_spec,
        shell:
            "credit_script train {params.spec:q} {output.result:q} {input:q} --outputs {output:q} "
            "--device {resources.device} --store results/store > {log:q} 2>&1"
