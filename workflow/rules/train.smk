# Training: a hyperparameter search where an experiment asks for one, then one job per shard of seeds.
rule search_settings:
    input:
        search_inputs,
    output:
        ensure(f"{RESULTS}/runs/{{paper}}/{{experiment}}/{{dataset}}/{{method}}/choice.json", non_empty=True),
    log:
        f"{LOGS}/search_settings/{{paper}}/{{experiment}}/{{dataset}}/{{method}}.log",
    benchmark:
        f"{TIMES}/search_settings/{{paper}}/{{experiment}}/{{dataset}}/{{method}}.tsv"
    conda:
        "../../envs/train.yaml"
    threads: train_threads
    resources:
        mem_mb=train_mem_mb,
        runtime=train_runtime,
        gpu=train_gpu,
        device=WORKFLOW.settings.device,
    params:
        spec=search_spec,
    shell:
        "credit_script search {params.spec:q} {output:q} {input:q} --device {resources.device} > {log:q} 2>&1"


rule train:
    input:
        train_inputs,
    output:
        ensure(f"{RESULTS}/runs/{{paper}}/{{experiment}}/{{dataset}}/{{method}}/shard{{shard}}.jsonl", non_empty=True),
    log:
        f"{LOGS}/train/{{paper}}/{{experiment}}/{{dataset}}/{{method}}/shard{{shard}}.log",
    benchmark:
        f"{TIMES}/train/{{paper}}/{{experiment}}/{{dataset}}/{{method}}/shard{{shard}}.tsv"
    conda:
        "../../envs/train.yaml"
    threads: train_threads
    resources:
        mem_mb=train_mem_mb,
        runtime=train_runtime,
        gpu=train_gpu,
        device=WORKFLOW.settings.device,
    params:
        spec=train_spec,
    shell:
        "credit_script train {params.spec:q} {output:q} {input:q} --device {resources.device} > {log:q} 2>&1"
