# Figures: tables in; PDF, PNG, the numbers in it and a page out. One rule each, since captions take no wildcards.
for name, artefact in WORKFLOW.figures.items():

    rule:
        name:
            "_".join(["plot", *Path(name).parts])
        input:
            tables=[f"{RESULTS}/tables/{key}.csv" for key in artefact.experiments],
            references=WORKFLOW.given(artefact.references),
        output:
            pdf=ensure(update(f"{RESULTS}/figures/{name}.pdf"), non_empty=True),
            png=update(f"{RESULTS}/figures/{name}.png"),
            numbers=ensure(update(f"{RESULTS}/figures/{name}.csv"), non_empty=True),
            page=report(
                update(f"{RESULTS}/figures/{name}.html"),
                caption=f"../report/{artefact.caption}",
                category="Figures",
                subcategory=artefact.paper,
                labels={"figure": name, "title": shown(title(artefact, WORKFLOW.experiments))},
            ),
            record=update(f"{RESULTS}/records/figures/{name}.json"),
        log:
            f"{LOGS}/plot_figure/{name}.log",
        benchmark:
            f"{TIMES}/plot_figure/{name}.tsv"
        localrule: True
        conda:
            "../../envs/analyse.yaml"
        threads: 1
        resources:
            mem_mb=1000,
            runtime=10,
            gpu=0,
        params:
            spec=artefact_spec("figure", name),
        shell:
            "credit_script plot {params.spec:q} {output.pdf:q} {output.png:q} --numbers {output.numbers:q} --page {output.page:q} --record {output.record:q} {input.tables:q} --references {input.references:q} > {log:q} 2>&1"
