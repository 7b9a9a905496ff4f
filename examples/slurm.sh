#!/usr/bin/env bash
# Pretraining on a Slurm cluster: sbatch examples/slurm.sh electra-base --corpus text/ --out runs/electra
#
# One task a node starts torchrun, which starts a process for each GPU, or one where there is none. Slurm sends SIGTERM
# two minutes before the time is up: the run saves, and the job queues itself again until the model is there.
#SBATCH --job-name=sijo
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -uo pipefail

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun torchrun --nnodes "$SLURM_NNODES" --nproc-per-node "${SLURM_GPUS_ON_NODE:-1}" \
    --rdzv-backend c10d --rdzv-endpoint "$head:29500" --rdzv-id "$SLURM_JOB_ID" \
    --no-python sijo pretrain "$@" --resume &
run=$! asked=
trap 'asked=yes; kill -TERM $run' TERM
wait $run
code=$?
while kill -0 $run 2>/dev/null; do  # a signal ended the wait, not the run
    wait $run
    code=$?
done
[ -n "$asked" ] && [ "$code" -ne 0 ] && scontrol requeue "$SLURM_JOB_ID"
exit "$code"
