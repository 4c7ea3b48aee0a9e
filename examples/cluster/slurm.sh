#!/bin/bash
# fabula on several machines under Slurm:  sbatch examples/cluster/slurm.sh
#
# One task a machine runs PyTorch's launcher, which starts one process a GPU (or as many as PROCESSES says on CPUs). The
# folders lie on a file system that all machines share. When Slurm takes the machines away it sends SIGTERM: everything is
# saved, and the job, put back into the queue under its number, goes on where it was.
#SBATCH --job-name=fabula
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --time=08:00:00
#SBATCH --signal=TERM@90
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=fabula-%j.log
set -euo pipefail

LIBRARY=${LIBRARY:-$HOME/library.store}  # made once by: fabula store TEXTS... -o library.store
MODEL=${MODEL:-$HOME/library-model}
PROCESSES=${PROCESSES:-4}
FIRST=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1  # else a restart fails: github.com/pytorch/pytorch/issues/135712
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=60     # seconds for saving when all are asked to stop
# export GLOO_SOCKET_IFNAME=eth0 NCCL_SOCKET_IFNAME=eth0   # where a machine has several networks

exec srun --kill-on-bad-exit=0 torchrun \
    --nnodes "$SLURM_JOB_NUM_NODES" --nproc-per-node "$PROCESSES" --max-restarts 100 \
    --rdzv-backend c10d --rdzv-endpoint "$FIRST:29500" --rdzv-id "$SLURM_JOB_ID" \
    -m fabula train "$LIBRARY" -o "$MODEL" --time 7h --size large
