//! A disk whose power can be cut: XFS on a loop device. `ext4` would hide what was not synced.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Result, bail};

use super::{
    process::Folder,
    tools::{self, does, text},
};

/// See the module. Unmounted and deleted with its owner.
pub(super) struct Disk {
    image: PathBuf,
    mount: PathBuf,
    _folder: Folder,
}

/// Why this machine cannot do it, if it cannot.
pub(super) fn missing() -> Option<String> {
    tools::missing(&["mkfs.xfs", "xfs_io", "mount", "umount"])
}

impl Disk {
    pub(super) fn new(name: &str) -> Result<Self> {
        let folder = Folder::new(name)?;
        let (image, mount) = (folder.0.join("image"), folder.0.join("mount"));
        File::create(&image)?.set_len(512 << 20)?;
        std::fs::create_dir_all(&mount)?;
        does("mkfs.xfs", &["-q", &text(&image)])?;
        let disk = Self { image, mount, _folder: folder };
        disk.mount()?;
        Ok(disk)
    }

    pub(super) fn path(&self) -> &Path {
        &self.mount
    }

    pub(super) fn mount(&self) -> Result<()> {
        for _ in 0..100 {
            does("mount", &["-o", "loop", &text(&self.image), &text(&self.mount)])?;
            let probe = self.mount.join("probe");
            if std::fs::write(&probe, "").is_ok() {
                return Ok(());
            }
            // Whoever made a mount namespace of his own meanwhile (a browser's sandbox) keeps the one that is cut.
            self.unmount()?;
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!("the file system that was cut stays in use by somebody else")
    }

    /// What was not synced is gone.
    pub(super) fn cut_power(&self) -> Result<()> {
        does("xfs_io", &["-x", "-c", "shutdown", &text(&self.mount)])
    }

    pub(super) fn unmount(&self) -> Result<()> {
        does("umount", &[&text(&self.mount)])
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.unmount().is_err() {
            let _ =
                Command::new("umount").args(["--lazy", &text(&self.mount)]).stderr(Stdio::null()).status();
        }
    }
}
