//! The system calls that a converter is refused.
//!
//! A list of what is forbidden, where the children of OCR have one of what is allowed: the program and its libraries are whatever
//! the machine has installed, with threads of their own. Files are Landlock's business; here stands what Landlock does not see,
//! and what no decoder needs.

use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

use crate::sandbox::{self, BpfProgram};

/// `fchmodat2` of Linux 6.6, which has the same number on every processor.
const FCHMODAT2: i64 = 452;

/// On every processor.
const REFUSED: &[i64] = &[
    // the network
    libc::SYS_socket,
    libc::SYS_socketpair,
    // calls that go past this filter
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // other processes
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_setpriority,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_setattr,
    libc::SYS_ioprio_set,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    // out of the group that is killed
    libc::SYS_setpgid,
    libc::SYS_setsid,
    // other views of the system
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_personality,
    // parts of the kernel that are large and not for decoders
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_fanotify_init,
    libc::SYS_inotify_init1,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    // memory and queues that outlive it
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_mq_open,
    // the machine
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_quotactl,
    libc::SYS_acct,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_syslog,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    // what Landlock leaves open: rights and times of files that are there
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    FCHMODAT2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_utimensat,
];

/// Older names of the same, and what only this processor has.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[i64] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[i64] = &[];

/// The filters; none on a processor that they cannot be made for.
pub(super) fn filters() -> Vec<BpfProgram> {
    let all = REFUSED.iter().chain(REFUSED_HERE).map(|call| (*call, Vec::new()));
    let Ok(rules) = conditional() else { return Vec::new() };
    let refused = sandbox::refuse(all.chain(rules), libc::EPERM);
    // Its flags lie in memory, where no filter sees them. Where there is no such call, the C library takes the older one.
    let unknown = sandbox::refuse([(libc::SYS_clone3, Vec::new())], libc::ENOSYS);
    [refused, unknown].into_iter().flatten().collect()
}

/// Threads, but no processes; limits of its own, but not of others.
fn conditional() -> Result<[(i64, Vec<SeccompRule>); 2], seccompiler::BackendError> {
    const THREAD: u64 = libc::CLONE_THREAD as u64;
    let no_thread =
        SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(THREAD), 0)?;
    let of_others = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, 0)?;
    Ok([
        (libc::SYS_clone, vec![SeccompRule::new(vec![no_thread])?]),
        (libc::SYS_prlimit64, vec![SeccompRule::new(vec![of_others])?]),
    ])
}
