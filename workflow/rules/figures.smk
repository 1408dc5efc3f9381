# Figures: tables in, PDF and PNG out. They are drawn from tables only.
rule plot_figure:
    input:
        figure_inputs,
    output:
        pdf=ensure(f"{RESULTS}/figures/{{figure}}.pdf", non_empty=True),
        png=report(
            f"{RESULTS}/figures/{{figure}}.png",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
    log:
        f"{LOGS}/plot_figure/{{figure}}.log",
    benchmark:
        f"{TIMES}/plot_figure/{{figure}}.tsv"
    localrule: True
    conda:
        "../../envs/analyse.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
        gpu=0,
    params:
        spec=figure_spec,
    shell:
        "credit_script plot {params.spec:q} {output.pdf} {output.png} {input} > {log} 2>&1"
