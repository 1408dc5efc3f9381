# `train` where something is kept beside the result, a rule for each set of files: what a rule makes, and for which cells,
# must be known when the workflow is read. One of the patterns of a path looks ahead for a cell; that of `train` excludes
# all of these.


use rule train as train_keeping_weights with:
    output:
        result=ensure(update(f"{RUN}.jsonl"), non_empty=True),
        weights=ensure(update(f"{RUN}.safetensors"), non_empty=True),
    wildcard_constraints:
        paper=keeping("weights"),


if ("predictions",) in WORKFLOW.keeping:

    use rule train as train_keeping_predictions with:
        output:
            result=ensure(update(f"{RUN}.jsonl"), non_empty=True),
            predictions=ensure(update(f"{RUN}.predictions.safetensors"), non_empty=True),
        wildcard_constraints:
            paper=keeping("predictions"),


if ("state",) in WORKFLOW.keeping:

    use rule train as train_keeping_state with:
        output:
            result=ensure(update(f"{RUN}.jsonl"), non_empty=True),
            state=ensure(update(f"{RUN}.state.safetensors"), non_empty=True),
        wildcard_constraints:
            paper=keeping("state"),


if (
    "weights",
    "predictions",
) in WORKFLOW.keeping:

    use rule train as train_keeping_weights_predictions with:
        output:
            result=ensure(update(f"{RUN}.jsonl"), non_empty=True),
            weights=ensure(update(f"{RUN}.safetensors"), non_empty=True),
            predictions=ensure(update(f"{RUN}.predictions.safetensors"), non_empty=True),
        wildcard_constraints:
            paper=keeping("weights", "predictions"),


if (
    "weights",
    "state",
) in WORKFLOW.keeping:

    use rule train as train_keeping_weights_state with:
        output:
            result=ensure(update(f"{RUN}.jsonl"), non_empty=True),
            weights=ensure(update(f"{RUN}.safetensors"), non_empty=True),
            state=ensure(update(f"{RUN}.state.safetensors"), non_empty=True),
        wildcard_constraints:
            paper=keeping("weights", "state"),


if (
    "predictions",
    "state",
) in WORKFLOW.keeping:

    use rule train as train_keeping_predictions_state with:
        output:
            result=ensure(update(f"{RUN}.jsonl"), non_empty=True),
            predictions=ensure(update(f"{RUN}.predictions.safetensors"), non_empty=True),
            state=ensure(update(f"{RUN}.state.safetensors"), non_empty=True),
        wildcard_constraints:
            paper=keeping("predictions", "state"),


if (
    "weights",
    "predictions",
    "state",
) in WORKFLOW.keeping:

    use rule train as train_keeping_weights_predictions_state with:
        output:
            result=ensure(update(f"{RUN}.jsonl"), non_empty=True),
            weights=ensure(update(f"{RUN}.safetensors"), non_empty=True),
            predictions=ensure(update(f"{RUN}.predictions.safetensors"), non_empty=True),
            state=ensure(update(f"{RUN}.state.safetensors"), non_empty=True),
        wildcard_constraints:
            paper=keeping("weights", "predictions", "state"),
