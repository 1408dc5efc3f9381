#!/usr/bin/env bash
# A Slurm cluster of one node on this machine, for tests: `cluster.sh start`, `cluster.sh stop`.
#
# It needs root, because the configuration must lie in /etc/slurm: the executor plugin drops SLURM_CONF from the
# environment of nested job steps. What lay there before is moved aside and put back by `stop`, also by a `start` or
# `stop` that finds an earlier run killed half way. Everything else (keys, sockets, state, logs) lives in $RUN, on
# ports and a munge socket of its own, so that a munge service of the machine is neither needed nor touched.
set -euo pipefail

readonly RUN=/var/lib/credit-slurm-test
readonly CONF=/etc/slurm
readonly BACKUP=/etc/slurm.before-credit-test
readonly MARK=.credit-slurm-test # in a configuration folder: this script wrote it

die() {
    printf 'slurm-test: %s\n' "$*" >&2
    exit 1
}

# --- processes --------------------------------------------------------------------------------------------------

# Every daemon is started with a path below $RUN on its command line; slurmstepd has its slurmd's log open instead.
is_ours() {
    local pid=$1
    { tr '\0' ' ' <"/proc/$pid/cmdline" && readlink "/proc/$pid"/fd/*; } 2>/dev/null | grep -q "$RUN/"
}

ended() { [[ -z $(tr -d '\0' 2>/dev/null <"/proc/$1/cmdline") ]]; } # gone, or a zombie, which has no command line

daemons() { # pids of the living daemons of the given names that are "ours", or "foreign"
    local whose=$1 name pid owner
    shift
    for name in "$@"; do
        for pid in $(pgrep -x "$name" || true); do
            if ended "$pid"; then continue; fi
            if is_ours "$pid"; then owner=ours; else owner=foreign; fi
            if [[ $owner == "$whose" ]]; then echo "$pid"; fi
        done
    done
}

end_daemons() { # TERM, ten seconds, KILL
    local signal pid pids
    for signal in TERM KILL; do
        for ((tick = 0; tick < 100; tick++)); do
            pids=$(daemons ours "$@")
            [[ -z $pids ]] && return
            if ((tick == 0)); then for pid in $pids; do kill -s "$signal" "$pid" 2>/dev/null || true; done; fi
            sleep 0.1
        done
    done
    die "cannot end the processes ${pids//$'\n'/ } of an earlier run"
}

refuse_a_real_cluster() {
    local pids
    pids=$(daemons foreign slurmctld slurmd)
    [[ -z $pids ]] || die "Slurm daemons that this test did not start are running (pid ${pids//$'\n'/ }): nothing touched." \
        "Run this test on a machine that is no part of a cluster."
    if [[ -f $CONF/slurm.conf && ! -f $CONF/$MARK ]] && timeout 20 scontrol ping 2>/dev/null | grep -q 'is UP'; then
        die "$CONF/slurm.conf leads to a controller that answers: nothing touched." \
            "Run this test on a machine that is no part of a cluster."
    fi
}

# --- configuration ----------------------------------------------------------------------------------------------

# Renames only, so that a kill between any two lines leaves a state that `restore_configuration` understands.
install_configuration() {
    local new=$CONF.credit-test
    rm -rf "$new"
    mkdir -m 755 "$new"
    touch "$new/$MARK"
    write_slurm_conf >"$new/slurm.conf"
    echo "Name=gpu File=$RUN/gpu[0-1]" >"$new/gres.conf"
    mkdir "$BACKUP"
    if [[ -e $CONF || -L $CONF ]]; then mv -T "$CONF" "$BACKUP/slurm"; fi
    mv -T "$new" "$CONF"
}

restore_configuration() {
    rm -rf "$CONF.credit-test"
    [[ -d $BACKUP ]] || return 0
    rm -rf "$BACKUP/used"
    if [[ -f $CONF/$MARK ]]; then mv -T "$CONF" "$BACKUP/used"; fi
    if [[ -e $BACKUP/slurm || -L $BACKUP/slurm ]]; then
        [[ ! -e $CONF ]] || die "$CONF was made anew while its original lies in $BACKUP/slurm:" \
            "keep one of them as $CONF, then remove $BACKUP."
        mv -T "$BACKUP/slurm" "$CONF"
    fi
    rm -rf "$BACKUP"
}

# Short intervals, because a test waits for each of them. Memory and processors are declared, not measured
# (config_overrides): the test is about scheduling, and must also run where a job asks for more than there is.
write_slurm_conf() {
    local host cpus
    host=$(hostname -s)
    cpus=$(nproc)
    cat <<END
ClusterName=credit-test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=26817
SlurmdPort=26818
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$RUN/munge.socket
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
GresTypes=gpu
JobRequeue=1
ReturnToService=2
KillWait=3
MinJobAge=900
SlurmctldPidFile=$RUN/slurmctld.pid
SlurmdPidFile=$RUN/slurmd.pid
SlurmctldLogFile=$RUN/slurmctld.log
SlurmdLogFile=$RUN/slurmd.log
StateSaveLocation=$RUN/state
SlurmdSpoolDir=$RUN/spool
NodeName=$host NodeAddr=127.0.0.1 CPUs=$((cpus > 2 ? cpus : 2)) RealMemory=64000 Gres=gpu:2 State=UNKNOWN
PartitionName=test Nodes=$host Default=YES MaxTime=INFINITE State=UP
END
}

# --- start and stop ---------------------------------------------------------------------------------------------

start() {
    refuse_a_real_cluster
    stop # what a killed run may have left
    mkdir -m 755 "$RUN" "$RUN/state" "$RUN/spool"
    touch "$RUN/gpu0" "$RUN/gpu1"
    (umask 077 && head -c 128 /dev/urandom >"$RUN/munge.key")
    install_configuration
    # Without input, output and the caller's lock (9), so that no daemon keeps a pipe or the lock open.
    {
        munged --socket="$RUN/munge.socket" --key-file="$RUN/munge.key" --pid-file="$RUN/munged.pid" \
            --log-file="$RUN/munged.log" --seed-file="$RUN/munged.seed" &&
            slurmctld -c -L "$RUN/slurmctld.log" &&
            slurmd -c -L "$RUN/slurmd.log"
    } </dev/null >"$RUN/start.log" 2>&1 9>&- || die "a daemon did not start:" "$(tail -n 20 "$RUN"/*.log)"
    for ((tick = 0; tick < 300; tick++)); do
        if [[ $(timeout 5 sinfo -h -o %T 2>/dev/null) == idle ]]; then
            echo "slurm-test: $(slurmctld -V), one node with $(sinfo -h -o '%c processors and %G')" >&2
            return
        fi
        sleep 0.2
    done
    die "the node did not become idle within a minute:" "$(tail -n 20 "$RUN"/*.log)"
}

stop() {
    if [[ -n $(daemons ours slurmctld) ]]; then timeout 10 scancel --user=root 2>/dev/null || true; fi
    end_daemons slurmctld slurmd slurmstepd munged
    restore_configuration
    rm -rf "$RUN"
}

((EUID == 0)) || die "needs root"
case ${1:-} in
start | stop) "$1" ;;
*) die "usage: cluster.sh start|stop" ;;
esac
