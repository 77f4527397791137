//! Processor time and memory of processes, as the kernel counts them.

use std::fs;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::{control_plane::ControlPlane, operator};

/// Processor time of the processes that work on a request, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CpuSeconds {
    /// Of who finishes the requests.
    pub contender: f64,
    /// Of kube-apiserver, for the contender as well as for the load.
    pub api_server: f64,
    /// Of etcd.
    pub etcd: f64,
}

impl CpuSeconds {
    /// The processor time until now, of the process `contender` and of the control plane.
    pub(super) fn now(contender: u32, control_plane: &ControlPlane) -> anyhow::Result<Self> {
        let pids = control_plane.pids();
        Ok(Self {
            contender: cpu_seconds(contender)?,
            api_server: cpu_seconds(pids.api_server)?,
            etcd: cpu_seconds(pids.etcd)?,
        })
    }

    /// The difference to `earlier`.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            contender: self.contender - earlier.contender,
            api_server: self.api_server - earlier.api_server,
            etcd: self.etcd - earlier.etcd,
        }
    }
}

/// Processor time of a process until now, in seconds, with a resolution of 10 ms: all its threads, without its
/// children.
pub(super) fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("process {pid} is not running"))?;
    let ticks = ticks(&stat).with_context(|| format!("{path} is not as expected: {stat}"))?;
    #[allow(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// User and system time. The name, which comes first, may contain spaces and brackets.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(") ")?.1.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

/// Physical memory of a process, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemoryBytes {
    /// Before the load.
    pub resting: u64,
    /// The most during the load.
    pub peak: u64,
    /// After it.
    pub afterwards: u64,
}

/// Starts to record the peak memory of a process. Returns its memory now.
pub(super) fn watch_peak(pid: u32) -> anyhow::Result<u64> {
    // Sets VmHWM back to VmRSS.
    fs::write(format!("/proc/{pid}/clear_refs"), "5").with_context(|| format!("process {pid} is not running"))?;
    operator::rss_bytes(pid)
}

/// The average number of runnable processes in the last minute.
pub(super) fn load_average() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process;

    use super::*;

    #[test]
    fn processor_time_is_read_past_a_name_with_brackets() {
        let stat = "7 (a) b) R 1 7 7 0 -1 4194304 100 0 0 0 250 17 9 9 20 0 1 0 100 1000 10 1 1 1 0 0 0 0 0";
        assert_eq!(ticks(stat), Some(267));
        assert_eq!(ticks("7 (a) R 1"), None);
    }

    #[test]
    fn work_takes_processor_time_and_memory() {
        let (pid, before) = (process::id(), cpu_seconds(process::id()).unwrap());
        let resting = watch_peak(pid).unwrap();
        let mut sum = 0_u64;
        while cpu_seconds(pid).unwrap() < before + 0.05 {
            let block = vec![1_u8; 64 * 1024 * 1024];
            sum += block.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        }
        assert!(sum > 0);
        assert!(operator::peak_rss_bytes(pid).unwrap() >= resting + 32 * 1024 * 1024);
    }
}
