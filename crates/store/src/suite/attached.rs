//! S2: a backup holds every file that it names, though files come and go, and a restore brings them back.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use chinwag_domain::record::{Change, Holding};
use chinwag_protocol::{FileId, Millis, UserId};
use tempfile::TempDir;

use super::bed::{Bed, Kind};
use crate::{
    objects::{FolderObjects, ObjectError, Objects, look_at, verify},
    sqlite::{BackupError, Manifest, Restored, Want, backup, restore, scrub},
};

const NOW: Millis = Millis(77);

struct Scene {
    bed: Bed,
    objects: FolderObjects,
    /// Where backups go.
    place: TempDir,
}

fn scene() -> Scene {
    let bed = Bed::new(Kind::Sqlite);
    bed.group(1, &[1]);
    let objects = FolderObjects::open(&bed.folder().join("files")).unwrap();
    Scene { bed, objects, place: TempDir::new().unwrap() }
}

fn bytes(number: u8) -> Vec<u8> {
    vec![number; 70_000 + usize::from(number)]
}

impl Scene {
    /// Somebody uploads and posts a file.
    fn attach(&self, number: u8) -> FileId {
        let mut incoming = self.objects.begin().unwrap();
        incoming.write(&bytes(number)).unwrap();
        let kept = incoming.finish().unwrap();
        let (user, media_type) = (UserId(1), "image/png".into());
        let holding =
            Holding { user, file: kept.file, size: kept.size, media_type, waits_since: None, messages: 1 };
        let holding = Arc::new(holding);
        self.bed.does(move |plan| {
            plan.keep(Change::Holding(holding.clone()));
            Ok(())
        });
        kept.file
    }

    /// Its message is deleted, and it is to go.
    fn let_go(&self, file: FileId) -> Result<bool, ObjectError> {
        assert!(self.objects.condemn(file));
        self.bed.does(move |plan| {
            plan.keep(Change::HoldingGone(UserId(1), file));
            Ok(())
        });
        self.objects.remove(file)
    }

    fn back_up(&self, name: &str) -> Manifest {
        backup(self.bed.folder(), &self.file(name), Want::Everything, NOW, |_| {}).unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn restore(&self, name: &str, to: &str, want: Want) -> Result<Restored, BackupError> {
        restore(&self.file(name), &self.file(to), want, |_| {})
    }
}

/// Where a file lies in a folder of files.
fn place(folder: &Path, file: FileId) -> PathBuf {
    let name = file.to_string();
    folder.join(&name[..2]).join(&name[2..])
}

/// Files and lacking files of a backup.
fn counted(manifest: &Manifest) -> (u64, u64) {
    let attached = manifest.attached.as_ref().unwrap();
    (attached.files, attached.lacking)
}

#[test]
fn s2_a_restored_store_has_the_files_of_its_messages() {
    let scene = scene();
    let files = [1, 2, 3].map(|number| scene.attach(number));
    let manifest = scene.back_up("one");
    assert_eq!((counted(&manifest), manifest.damaged), ((3, 0), 0));
    assert_eq!(manifest.attached.as_ref().unwrap().bytes, 210_006);
    let restored = scene.restore("one", "data", Want::Everything).unwrap();
    assert_eq!(restored.manifest, manifest);
    let there = look_at(&scene.file("data"));
    for (file, number) in files.into_iter().zip(1..) {
        verify(&there, file, bytes(number).len() as u64).unwrap();
    }
    let report = scrub(&scene.file("data"), |_| {}).unwrap();
    assert_eq!((report.findings, report.contents), (Vec::new(), manifest.contents));
    // A server takes the folder as its own.
    FolderObjects::open(&scene.file("data/files")).unwrap();
}

#[test]
fn s2_a_backup_without_files_has_no_folder_for_them() {
    let scene = scene();
    assert_eq!(counted(&scene.back_up("one")), (0, 0));
    assert!(!scene.file("one.files").exists());
    scene.restore("one", "data", Want::Everything).unwrap();
}

#[test]
fn s2_no_file_goes_while_a_backup_is_taken() {
    let scene = scene();
    let (first, second) = (scene.attach(1), scene.attach(2));
    let mut tried = 0;
    let manifest = backup(scene.bed.folder(), &scene.file("one"), Want::Everything, NOW, |progress| {
        // The state is taken, the files are not; then after some were.
        if tried == 0 && progress.what == "pages" {
            tried = 1;
            assert!(matches!(scene.let_go(first), Err(ObjectError::Lent(file)) if file == first));
            scene.attach(3);
        } else if tried == 1 && progress.what == "files" {
            tried = 2;
            assert!(matches!(scene.let_go(second), Err(ObjectError::Lent(_))));
        }
    });
    assert_eq!((tried, counted(&manifest.unwrap())), (2, (2, 0)));
    for file in [first, second] {
        assert!(scene.objects.condemn(file) && scene.objects.remove(file).unwrap(), "now it may go");
    }
    scene.restore("one", "data", Want::Everything).unwrap();
    assert!(scrub(&scene.file("data"), |_| {}).unwrap().is_clean());
}

#[test]
fn s2_what_an_earlier_backup_has_is_not_copied_again() {
    let scene = scene();
    let (sound, harmed) = (scene.attach(1), scene.attach(2));
    scene.back_up("one");
    fs::write(place(&scene.file("one.files"), harmed), "something else").unwrap();
    let added = scene.attach(3);
    assert_eq!(counted(&scene.back_up("two")), (3, 0));
    let inode = |name: &str, file| fs::metadata(place(&scene.file(name), file)).unwrap().ino();
    assert_eq!(inode("two.files", sound), inode("one.files", sound), "one file with two names");
    assert_ne!(inode("two.files", harmed), inode("one.files", harmed), "not what was harmed");
    assert!(place(&scene.file("two.files"), added).exists());
    // Each is whole without the other.
    fs::remove_dir_all(scene.file("one.files")).unwrap();
    scene.restore("two", "data", Want::Everything).unwrap();
    assert!(scrub(&scene.file("data"), |_| {}).unwrap().is_clean());
}

#[test]
fn s2_a_backup_whose_files_are_harmed_is_not_restored() {
    let scene = scene();
    let (one, other) = (scene.attach(1), scene.attach(2));
    scene.back_up("one");
    let (one, other) = (place(&scene.file("one.files"), one), place(&scene.file("one.files"), other));
    let mut harmed = fs::read(&one).unwrap();
    harmed[60_000] ^= 1;
    fs::write(&one, harmed).unwrap();
    fs::remove_file(&other).unwrap();
    let refused = scene.restore("one", "data", Want::Everything).unwrap_err();
    assert!(matches!(refused, BackupError::Lacking { count: 2, .. }), "{refused}");
    assert!(!scene.file("data/chinwag.db").exists(), "no store without its files");
    scene.restore("one", "data", Want::NoFiles).unwrap();
    assert_eq!(scrub(&scene.file("data"), |_| {}).unwrap().findings.len(), 2, "they are named");
}

#[test]
fn s2_files_that_the_store_lacks_are_counted_and_the_rest_is_there() {
    let scene = scene();
    let (gone, harmed) = (scene.attach(1), scene.attach(2));
    scene.attach(3);
    let files = scene.bed.folder().join("files");
    fs::remove_file(place(&files, gone)).unwrap();
    fs::write(place(&files, harmed), "something else").unwrap();
    let manifest = scene.back_up("one");
    assert_eq!((counted(&manifest), manifest.damaged), ((1, 2), 2));
    assert!(!place(&scene.file("one.files"), harmed).exists());
    scene.restore("one", "data", Want::Everything).unwrap();
}

#[test]
fn a_backup_that_was_broken_off_is_taken_up_again() {
    let scene = scene();
    let (whole, half) = (scene.attach(1), scene.attach(2));
    scene.back_up("one");
    // As if it had been killed before the backup had its name.
    fs::remove_file(scene.file("one")).unwrap();
    let files = scene.file("one.files");
    fs::write(place(&files, half), "half").unwrap();
    fs::write(files.join("part"), "half").unwrap();
    let before = fs::metadata(place(&files, whole)).unwrap().ino();
    assert_eq!(counted(&scene.back_up("one")), (2, 0));
    assert_eq!(fs::metadata(place(&files, whole)).unwrap().ino(), before);
    assert!(!files.join("part").exists());
    scene.restore("one", "data", Want::Everything).unwrap();
    assert!(scrub(&scene.file("data"), |_| {}).unwrap().is_clean());
}
