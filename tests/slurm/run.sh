#!/usr/bin/env bash
# `make slurm-test`: the workflow on a real Slurm controller, started for the purpose on this machine and taken down
# again. Arguments go to pytest. It installs Debian packages and, while it runs, replaces /etc/slurm, so it asks for
# root and for CREDIT_SLURM_TEST=1.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly VENV=.venv-slurm # beside .venv: the plugin, merely installed, slows every call of snakemake
readonly LOCK_FILE=/var/lock/credit-slurm-test

die() {
    printf 'slurm-test: %s\n' "$*" >&2
    exit 1
}

install_packages() {
    local command missing=
    for command in slurmctld slurmd scontrol sbatch munged; do command -v "$command" >/dev/null || missing=yes; done
    [[ -n $missing ]] || return 0
    command -v apt-get >/dev/null || die "needs slurmctld, slurmd, the Slurm clients and munged; no apt-get to install them"
    echo "slurm-test: installing the Debian packages slurm-wlm and munge" >&2
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -y -qq --no-install-recommends slurm-wlm munge >&2
}

# The packages of .venv plus the plugin. Nested starts of snakemake inside a job use sys.executable, hence this too.
make_environment() {
    local main stamp
    [[ -x .venv/bin/python ]] || die "no environment in .venv: make it first: make .venv/.complete"
    main=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    stamp="$main $(sha256sum <requirements-slurm.lock)"
    [[ -f $VENV/stamp && $(<"$VENV/stamp") == "$stamp" ]] && return
    rm -rf "$VENV"
    .venv/bin/python -m venv "$VENV"
    echo '*' >"$VENV/.gitignore"
    echo "import site; site.addsitedir('$main')" >"$("$VENV/bin/python" -c \
        'import sysconfig; print(sysconfig.get_path("purelib"))')/main.pth"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-slurm.lock
    # shellcheck disable=SC2016 # to be expanded when it runs
    printf '#!/bin/sh\nexec "$(dirname "$0")/python" -m snakemake "$@"\n' >"$VENV/bin/snakemake"
    chmod +x "$VENV/bin/snakemake"
    echo "$stamp" >"$VENV/stamp"
}

take_down() {
    local status=$?
    trap - EXIT
    trap '' INT TERM HUP
    if [[ -n ${tests:-} ]]; then kill -TERM -- "-$tests" 2>/dev/null || true; fi
    if ((status > 0 && status < 128)); then tail -n 40 /var/lib/credit-slurm-test/slurm*.log >&2 2>/dev/null || true; fi
    tests/slurm/cluster.sh stop || status=1
    exit "$status"
}

[[ ${CREDIT_SLURM_TEST:-} == 1 ]] || die "this test installs packages and replaces /etc/slurm while it runs." \
    "If this machine may be used so, set CREDIT_SLURM_TEST=1."
((EUID == 0)) || die "needs root, to start the daemons of Slurm and to write /etc/slurm"
exec 9>"$LOCK_FILE"
flock -n 9 || die "another slurm-test is running on this machine (it holds $LOCK_FILE)"

make_environment
install_packages
trap take_down EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
tests/slurm/cluster.sh start

# In a process group of its own and awaited, so that a signal is handled at once and reaches snakemake too.
set -m
PATH="$PWD/$VENV/bin:$PATH" "$VENV/bin/python" -m pytest tests/slurm "$@" </dev/null &
tests=$!
set +m
wait "$tests"
tests=
