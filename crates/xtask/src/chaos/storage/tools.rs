//! Mounts and groups of processes that a scenario makes, and that go with it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::chaos::tools::{does, says, text};

/// A file system in memory, as large as said; unmounted with its owner.
pub(super) struct Memory(PathBuf);

impl Memory {
    pub(super) fn mount(at: PathBuf, megabytes: u32) -> Result<Self> {
        std::fs::create_dir_all(&at)?;
        does("mount", &["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs", &text(&at)])?;
        Ok(Self(at))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Other options, for example `size=200m` or `ro`.
    pub(super) fn again(&self, options: &str) -> Result<()> {
        does("mount", &["-o", &format!("remount,{options}"), &text(&self.0)])
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        unmount(&self.0);
    }
}

/// Unmounts, at once or as soon as nobody uses it.
fn unmount(at: &Path) {
    let quietly = |arguments: &[&str]| {
        Command::new("umount")
            .args(arguments)
            .arg(at)
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|s| s.success())
    };
    if !quietly(&[]) {
        let _ = quietly(&["--lazy"]);
    }
}

/// A disk that promises more than it has: ext4 without a journal in a sparse file on a small file system in memory.
/// What does not fit is found out when it is written back, and said once.
pub(super) struct Thin {
    image: PathBuf,
    mount: PathBuf,
    below: Memory,
}

impl Thin {
    pub(super) fn new(folder: &Path, megabytes: u32) -> Result<Self> {
        let below = Memory::mount(folder.join("below"), megabytes)?;
        let (image, mount) = (below.path().join("image"), folder.join("thin"));
        std::fs::File::create(&image)?.set_len(400 << 20)?;
        std::fs::create_dir_all(&mount)?;
        does("mkfs.ext4", &["-q", "-O", "^has_journal", "-E", "lazy_itable_init=0", &text(&image)])?;
        let thin = Self { image, mount, below };
        thin.mount()?;
        Ok(thin)
    }

    fn mount(&self) -> Result<()> {
        does("mount", &["-o", "loop", &text(&self.image), &text(&self.mount)])
    }

    pub(super) fn path(&self) -> &Path {
        &self.mount
    }

    /// The file system that has less room than the disk says.
    pub(super) fn below(&self) -> &Path {
        self.below.path()
    }

    /// Makes room, and puts the file system in order as after a crash.
    pub(super) fn heal(&self) -> Result<()> {
        self.below.again("size=600m")?;
        does("umount", &[&text(&self.mount)])?;
        // The device below lets go of the image a moment later.
        for _ in 0..100 {
            if says("losetup", &["-j", &text(&self.image)])?.stdout.is_empty() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        // 1: something was put right.
        let checked = says("e2fsck", &["-fy", &text(&self.image)])?;
        if checked.status.code().is_none_or(|code| code > 1) {
            bail!("e2fsck: {}", String::from_utf8_lossy(&checked.stdout));
        }
        self.mount()
    }
}

impl Drop for Thin {
    fn drop(&mut self) {
        unmount(&self.mount);
    }
}

/// A group of processes that may use so much memory together.
pub(super) struct Group {
    folder: PathBuf,
    limit: &'static str,
}

impl Group {
    /// `None` where there are no groups with a limit of memory.
    pub(super) fn new() -> Option<Self> {
        let name = format!("chinwag-chaos-{}", std::process::id());
        for (folder, limit) in
            [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]
        {
            let folder = Path::new(folder).join(&name);
            if std::fs::create_dir(&folder).is_err() {
                continue;
            }
            let group = Self { folder, limit };
            if group.folder.join(limit).exists() {
                return Some(group);
            }
        }
        None
    }

    pub(super) fn limit(&self, bytes: u64) -> Result<()> {
        // What the one before left in the cache would count against the next.
        let _ = std::fs::write(self.folder.join("memory.force_empty"), "0");
        std::fs::write(self.folder.join(self.limit), bytes.to_string()).context("cannot limit the memory")
    }

    /// A program that enters the group and becomes another.
    pub(super) fn tool(&self) -> [String; 4] {
        let enter = format!("echo $$ > {}/cgroup.procs; exec \"$@\"", self.folder.display());
        ["sh".to_owned(), "-c".to_owned(), enter, "sh".to_owned()]
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A process that was killed is in it for a moment yet.
        for _ in 0..100 {
            if std::fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

/// A network of its own with nothing in it but loopback, and nobody who knows names.
pub(super) struct Island(String);

impl Island {
    pub(super) fn new() -> Result<Self> {
        let island = Self(format!("chinwag-chaos-{}", std::process::id()));
        let etc = island.etc();
        std::fs::create_dir_all(&etc)?;
        std::fs::write(etc.join("resolv.conf"), "")?;
        does("ip", &["netns", "add", &island.0])?;
        does("ip", &["-n", &island.0, "link", "set", "lo", "up"])?;
        Ok(island)
    }

    fn etc(&self) -> PathBuf {
        Path::new("/etc/netns").join(&self.0)
    }

    pub(super) fn tool(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.0]
    }
}

impl Drop for Island {
    fn drop(&mut self) {
        let _ = does("ip", &["netns", "delete", &self.0]);
        let _ = std::fs::remove_dir_all(self.etc());
        // Only if it is empty.
        let _ = std::fs::remove_dir("/etc/netns");
    }
}
