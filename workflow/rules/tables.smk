# Tables: the runs of an experiment in one tidy file, summaries, and the comparison with published numbers.
rule collect_runs:
    input:
        collect_inputs,
    output:
        table=ensure(update(f"{RESULTS}/tables/{{paper}}/{{experiment}}.csv"), non_empty=True),
        record=update(f"{RESULTS}/records/tables/{{paper}}/{{experiment}}.csv.json"),
    log:
        f"{LOGS}/collect_runs/{{paper}}/{{experiment}}.log",
    benchmark:
        f"{TIMES}/collect_runs/{{paper}}/{{experiment}}.tsv"
    wildcard_constraints:
        paper=papers_of_experiments(),
    localrule: True
    conda:
        "../../envs/analyse.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
        gpu=0,
    params:
        spec=collect_spec,
    shell:
        "credit_script collect {params.spec:q} {output.table:q} --record {output.record:q} {input:q} > {log:q} 2>&1"


# One rule for each summary; and one, since captions take no wildcards, for the same as a table for people, in Markdown
# and as a page, which alone depends on how things are called.
for name, artefact in WORKFLOW.tables.items():

    rule:
        name:
            "_".join(["summarise", *Path(name).parts])
        input:
            tables=[f"{RESULTS}/tables/{key}.csv" for key in artefact.experiments],
            references=WORKFLOW.given(artefact.references),
        output:
            table=update(f"{RESULTS}/tables/{name}.csv"),
            record=update(f"{RESULTS}/records/tables/{name}.csv.json"),
        log:
            f"{LOGS}/summarise/{name}.log",
        benchmark:
            f"{TIMES}/summarise/{name}.tsv"
        localrule: True
        conda:
            "../../envs/analyse.yaml"
        threads: 1
        resources:
            mem_mb=1000,
            runtime=10,
            gpu=0,
        params:
            spec=artefact_spec("table", name),
        shell:
            "credit_script summarise {params.spec:q} {output.table:q} --record {output.record:q} {input.tables:q} --references {input.references:q} > {log:q} 2>&1"

    rule:
        name:
            "_".join(["typeset", *Path(name).parts])
        input:
            f"{RESULTS}/tables/{name}.csv",
        output:
            table=update(f"{RESULTS}/tables/{name}.md"),
            page=report(
                update(f"{RESULTS}/tables/{name}.html"),
                caption=f"../report/{artefact.caption}",
                category="Tables",
                subcategory=artefact.paper,
                labels={"table": name, "title": shown(title(artefact, WORKFLOW.experiments))},
            ),
            records=update([f"{RESULTS}/records/tables/{name}.{end}.json" for end in ("md", "html")]),
        log:
            f"{LOGS}/typeset/{name}.log",
        benchmark:
            f"{TIMES}/typeset/{name}.tsv"
        localrule: True
        conda:
            "../../envs/analyse.yaml"
        threads: 1
        resources:
            mem_mb=1000,
            runtime=10,
            gpu=0,
        params:
            spec=readable_spec(name),
        shell:
            "credit_script typeset {params.spec:q} {output.table:q} {input:q} --page {output.page:q} --records {output.records:q} > {log:q} 2>&1"


rule judge_fidelity:
    input:
        published=WORKFLOW.given(WORKFLOW.published()),
        tables=[f"{RESULTS}/tables/{name}.csv" for name in WORKFLOW.tables],
    output:
        table=update(f"{RESULTS}/tables/fidelity.csv"),
        record=update(f"{RESULTS}/records/tables/fidelity.csv.json"),
    log:
        f"{LOGS}/judge_fidelity.log",
    benchmark:
        f"{TIMES}/judge_fidelity.tsv"
    localrule: True
    conda:
        "../../envs/analyse.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
        gpu=0,
    params:
        spec=fidelity_spec,
    shell:
        "credit_script fidelity {params.spec:q} {output.table:q} {input.published:q} --record {output.record:q} -- {input.tables:q} > {log:q} 2>&1"


rule typeset_fidelity:
    input:
        f"{RESULTS}/tables/fidelity.csv",
    output:
        page=report(
            update(f"{RESULTS}/tables/fidelity.html"),
            caption="../report/fidelity.rst",
            category="Fidelity",
            labels={"table": "reproduced against published"},
        ),
        record=update(f"{RESULTS}/records/tables/fidelity.html.json"),
    log:
        f"{LOGS}/typeset_fidelity.log",
    benchmark:
        f"{TIMES}/typeset_fidelity.tsv"
    localrule: True
    conda:
        "../../envs/analyse.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
        gpu=0,
    params:
        spec=fidelity_page_spec,
    shell:
        "credit_script typeset_fidelity {params.spec:q} {output.page:q} {input:q} --record {output.record:q} > {log:q} 2>&1"
