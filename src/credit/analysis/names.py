"""How things are called, the same in every figure and readable table. How they are drawn: `credit.figures.looks`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

# as papers print them, in the order in which legends and tables list them
METHODS = {
    "bp": "BP",
    "shallow": "shallow",
    "fa": "FA",
    "dfa": "DFA",
    "drtp": "DRTP",
    "dfc": "DFC",
    "dfc_ss": "DFC-SS",
    "dfc_ssa": "DFC-SSA",
    "mn": "MN",
    "gn": "GN",
    "pbp": "PBP",
    "ndi": "NDI",
    "di": "DI",
    "sdi": "SDI",
    "di_bp": "BP (DI code)",
    "di_fa": "FA (DI code)",
    "ldrl": "L-DRL",
    "pldrl": "L-DRL parallel",
    "dtp": "DTP",
    "tp": "TP",
    "drl_dtp": "DTP (DDTP code)",
    "dtpdrl": "DTPDRL",
    "ddtp_linear": "DDTP-linear",
    "ddtp_rhl": "DDTP-RHL",
    "ddtp_control": "DDTP-control",
    "pepita": "PEPITA",
    "pepita_numpy": "PEPITA (numpy code)",
    "pepita_torch": "PEPITA (notebook)",
    "pepita_sign": "PEPITA, sign",
    "pepita_conv": "PEPITA (conv, as released)",
    "pepita_conv_corrected": "PEPITA (conv, corrected)",
    "pc": "PC",
    "pc_coded": "PC (hand-coded)",
    "generec": "GeneRec",
    "hopfield": "Hopfield",
    "almeida_pineda": "Almeida–Pineda",
    "any_energy": "any energy",
    "tp_pinv": "TP (pseudoinverse)",
}

# what papers add to the name of a learning rule, where the method's own name does not say it
VARIANTS = {"ddtp_linear-s": "s-DDTP", "ddtp_linear-p": "p-DDTP"}

DATASETS = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "imagenet32": "ImageNet 32×32",
    "digits": "digits 8×8",
    "normal": "small random weights",
    "orthogonal": "orthogonal weights",
    "digits_normal": "digits, small random weights",
    "digits_orthogonal": "digits, orthogonal weights",
    "mnist_train": "MNIST (training loss)",
    "mnist_autoencoder": "MNIST autoencoder",
    "digits_autoencoder": "digits 8×8 autoencoder",
    "student_teacher": "student–teacher",
    "teacher": "student–teacher",
    "cartpole": "CartPole",
    "acrobot": "Acrobot",
    "mountain_car": "MountainCar",
}

METRICS = {
    "train_loss": "training loss",
    "validation_loss": "validation loss",
    "test_loss": "test loss",
    "train_error": "training error",
    "validation_error": "validation error",
    "test_error": "test error",
    "test_top5_error": "test error, top 5",
    "angle_bp": "angle to BP",
    "angle_mn": "angle to MN",
    "angle_gn": "angle to GN",
    "angle_projection": "angle to the projection",
    "weight_norm": "norm of the weights",
    "slowness": "slowness",
    "slowness_of_mean": "slowness of the mean curve",
    "angle_ssa": "angle to DFC-SSA",
    "angle_feedback_transpose": "angle of Q to Jᵀ",
    "condition1": "condition 1",
    "condition2": "condition 2",
    "null_space_ratio": "null-space ratio",
    "learning_rate": "learning rate",
    "test_mse": "test error, squared, mean over pixels",
    "log10_nse": "log₁₀ normalised squared error",
    "lambda_max": "largest Re λ",
    "angle_feedback": "∠(B, −Wᵀ)",
    "angle_weights": "∠(W, Qᵀ)",
    "distance_weights": "‖W − Qᵀ‖ / ‖W‖",
    "distance_bp": "relative distance to BP",
    "jacobian_mismatch": "‖J_G − J_Fᵀ‖ / ‖J_F‖",
    "update_work": "multiply-adds of an update, in those of BP",
    "angle_ndi": "angle to NDI",
    "angle_pbp": "angle to PBP",
    "held_out_error": "held-out error",
    "task0_error": "test error, task 0",
    "task1_error": "test error, task 1",
    "test_error_minus_bp": "test error minus that of BP",
    "test_error_minus_bp_relu": "test error minus that of BP (relu)",
    "train_loss_minus_bp": "training loss minus that of BP",
    "target_alignment": "target alignment",
    "target_angle": "angle to the target",
    "prospective_index": "prospective index",
    "path_length": "length of the path of the weights",
    "final_length": "distance of the weights from their start",
    "punished_stay": "value at punishment, stay",
    "punished_switch": "value at punishment, switch",
    "next_stay": "value in the next trial, stay",
    "next_switch": "value in the next trial, switch",
    "rise_stay": "rise of the value, stay",
    "rise_switch": "rise of the value, switch",
    "trials_reward": "mean reward",
    "trials_right": "share of right choices",
    "adaptation_1_plus": "adaptation to 1+",
    "adaptation_2_plus": "adaptation to 2+",
    "adaptation_1_minus": "adaptation to 1−",
    "adaptation_2_minus": "adaptation to 2−",
    "fear": "fear of the noise",
    "fear_light": "fear of the light",
    "fit_error": "error of the fit",
    "fit_scale": "scale of the fit",
    "fit_offset": "offset of the fit",
    "episode_return": "return of an episode",
    "mean_return": "return, mean of the last episodes",
    "run_return": "return, mean over the run",
    "run_return_minus_bp": "return, mean over the run, minus that of BP",
}

# varied settings, by the columns of tables
COLUMNS = {
    "lr": "learning rate",
    "lr_0": "learning rate, layer 1",
    "lr_1": "learning rate, layer 2",
    "units_1_0": "factor of the rate, layer 2, input 1",
    "units_1_1": "factor of the rate, layer 2, input 2",
    "std": "width of the initial weights",
}


def family(name: str, rule: str | None = None) -> str | None:
    """The rule of METHODS of which a method is a variant (`di-2`, or any name with `rule` given), or itself."""
    return next((n for n in (name, rule, name.partition("-")[0]) if n in METHODS), None)


def method_label(name: str, rule: str | None = None) -> str:
    """Name of a method as papers print it; of a variant, that of its learning rule with what the name adds."""
    base = family(name, rule)
    if base is None or name == base:
        return METHODS.get(name, name)
    before, _, suffix = name.partition("-")
    known = METHODS.get(before, METHODS[base] if name.startswith(base) else None)
    suffix = suffix or name.removeprefix(base).strip("_")
    if suffix.isdigit():
        return f"{known or METHODS[base]}-{suffix}"
    return f"{known} ({_suffix_label(name, suffix)})" if known else name


def _suffix_label(name: str, suffix: str) -> str:
    """What a variant's name adds, as papers say it: `s-DDTP, held out` of `ddtp_linear-s_held_out`."""
    variant = next((v for v in VARIANTS if name == v or name.startswith(f"{v}_")), None)
    if variant is None:
        return suffix.replace("_", " ")
    return ", ".join(filter(None, (VARIANTS[variant], name.removeprefix(variant).replace("_", " ").strip())))


def method_order(names: Iterable[str], rules: Mapping[str, str] | None = None) -> list[str]:
    """Methods in the order in which they are always listed: that of METHODS, then other learning rules by name, each
    before its variants.

    rules: {method: learning rule} of methods whose name does not say their rule.
    """
    rules, known = rules or {}, list(METHODS)

    def place(name: str) -> tuple:
        rule = family(name, rules.get(name)) or rules.get(name) or name.partition("-")[0]
        return (known.index(rule) if rule in METHODS else len(known), rule, name != rule, name)

    return sorted(set(names), key=place)


def dataset_title(name: str) -> str:
    """Name of a data set as papers print it; an unknown one with its underscores as spaces, or a point: std 0.1."""
    return DATASETS.get(name, re.sub(r"_(\d+)_(\d+)$", r" \1.\2", name).replace("_", " "))


def dataset_order(names) -> list[str]:
    """Data sets in the order of DATASETS, unknown ones last by name, and those of one name by the numbers in it."""
    known = list(DATASETS)

    def place(name: str) -> tuple:
        parts = [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
        return known.index(name) if name in DATASETS else len(known), parts

    return sorted(set(names), key=place)


def metric_label(name: str, unit: str = "") -> str:
    """Axis label of a metric, its unit in brackets; of a number of a fit, the varied setting that was chosen."""
    if name not in METRICS and name.startswith("fit_"):
        name = f"{column_label(name.removeprefix('fit_'))} of the fit"
    return METRICS.get(name, name.replace("_", " ")) + (f" [{unit}]" if unit else "")


def column_label(name: str) -> str:
    """Name of a varied setting."""
    return COLUMNS.get(name, name.replace("_", " "))


def recorded_label(name: str, unit: str = "") -> str:
    """Label of a metric under the name under which runs record it, with what a probe adds to it.

    `angle_bp_0.4655`, of the probe update_distance: as it were with this stepsize (beta) of the targets.
    """
    metric, _, stepsize = name.rpartition("_")
    if name in METRICS or metric not in METRICS or not stepsize[:1].isdigit():
        return metric_label(name, unit)
    return metric_label(f"{METRICS[metric]} with stepsize {stepsize}", unit)
