# Benchmarks: snakemake --cores all bench. One at a time, since they measure.
from credit.bench import registry as BENCHMARKS


rule bench:
    input:
        expand("results/bench/{name}.csv", name=BENCHMARKS.names()),
    localrule: True


rule run_benchmark:
    output:
        table=update("results/bench/{name}.csv"),
        record=update("results/records/bench/{name}.csv.json"),
    log:
        "results/logs/run_benchmark/{name}.log",
    benchmark:
        "results/logs/benchmarks/run_benchmark/{name}.tsv"
    wildcard_constraints:
        name="|".join(BENCHMARKS.names()),
    conda:
        "../../envs/train.yaml"
    threads: workflow.resource_settings.cores or 1  # alone on the machine; a cluster has no total
    resources:
        mem_mb=4000,
        runtime=60,
        gpu=0,
    shell:
        "credit_script bench {wildcards.name} {output.table:q} --record {output.record:q} > {log:q} 2>&1"
