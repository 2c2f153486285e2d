//! The folder of files: what goes in comes out, and what is damaged or half is never shown.

use std::{fs, io::Write, os::unix::fs::FileExt, path::PathBuf};

use chinwag_protocol::FileId;
use sha2::{Digest, Sha256};

use super::{BLOCK_BYTES, FolderObjects, Kept, ObjectError, Objects, verify};

struct Bed {
    objects: FolderObjects,
    folder: tempfile::TempDir,
}

fn bed() -> Bed {
    let folder = tempfile::tempdir().unwrap();
    let objects = FolderObjects::open(&folder.path().join("files")).unwrap();
    Bed { objects, folder }
}

impl Bed {
    fn keep(&self, bytes: &[u8]) -> Kept {
        let mut incoming = self.objects.begin().unwrap();
        // In odd pieces, so that blocks do not begin where pieces do.
        for piece in bytes.chunks(10_007) {
            incoming.write(piece).unwrap();
        }
        incoming.finish().unwrap()
    }

    fn read(&self, file: FileId) -> Result<Vec<u8>, ObjectError> {
        let mut content = self.objects.open(file)?;
        let mut all = Vec::new();
        for index in 0..content.size().div_ceil(BLOCK_BYTES) {
            all.extend(content.block(index)?);
        }
        Ok(all)
    }

    fn path(&self, file: FileId) -> PathBuf {
        let name = file.to_string();
        self.folder.path().join("files").join(&name[..2]).join(&name[2..])
    }

    fn listed(&self) -> Vec<FileId> {
        let mut files = Vec::new();
        self.objects.list(&mut |file| files.push(file)).unwrap();
        files
    }

    fn half_uploads(&self) -> usize {
        fs::read_dir(self.folder.path().join("files/incoming")).unwrap().count()
    }
}

/// Bytes that do not repeat within a block.
fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + at / 251) as u8).collect()
}

fn edges() -> [usize; 6] {
    let block = usize::try_from(BLOCK_BYTES).unwrap();
    [0, 1, block - 1, block, block + 1, 3 * block + 5]
}

#[test]
fn what_was_written_is_read() {
    let bed = bed();
    for length in edges() {
        let bytes = noise(length);
        let kept = bed.keep(&bytes);
        assert_eq!(kept.file.0.as_slice(), Sha256::digest(&bytes).as_slice());
        assert_eq!((kept.size, bed.read(kept.file).unwrap() == bytes), (length as u64, true), "{length}");
        verify(&bed.objects, kept.file, kept.size).unwrap();
        assert!(bed.objects.open(kept.file).unwrap().block(99).unwrap().is_empty(), "nothing behind the end");
    }
    assert_eq!(bed.listed().len(), edges().len());
    assert_eq!(bed.half_uploads(), 0);
}

#[test]
fn d8_half_an_upload_is_never_there() {
    let bed = bed();
    let mut incoming = bed.objects.begin().unwrap();
    incoming.write(&noise(200_000)).unwrap();
    assert_eq!((bed.listed().len(), bed.half_uploads()), (0, 1));
    drop(incoming);
    assert_eq!(bed.half_uploads(), 0);
    // What a killed server left goes at the next start.
    fs::File::create(bed.folder.path().join("files/incoming/7")).unwrap().write_all(b"half").unwrap();
    let again = FolderObjects::open(&bed.folder.path().join("files")).unwrap();
    assert_eq!(bed.half_uploads(), 0);
    assert!(matches!(again.open(FileId([0; 32])), Err(ObjectError::Missing(_))));
}

#[test]
fn s1_every_flipped_bit_is_found_before_it_is_told() {
    let bed = bed();
    let bytes = noise(150_000);
    let kept = bed.keep(&bytes);
    let path = bed.path(kept.file);
    let length = fs::metadata(&path).unwrap().len();
    let file = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    // Some of the content, and all of what stands behind it.
    for at in (0..length).step_by(4_001).chain(bytes.len() as u64..length) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 4], at).unwrap();
        assert!(matches!(bed.read(kept.file), Err(ObjectError::Damaged { .. })), "byte {at}");
        assert!(verify(&bed.objects, kept.file, kept.size).is_err(), "byte {at}");
        file.write_all_at(&byte, at).unwrap();
    }
    verify(&bed.objects, kept.file, kept.size).unwrap();
    for cut in [0, 5, 16, length - 1] {
        file.set_len(cut).unwrap();
        assert!(matches!(bed.read(kept.file), Err(ObjectError::Damaged { .. })), "cut to {cut}");
    }
    bed.keep(&bytes);
    assert_eq!(bed.read(kept.file).unwrap(), bytes, "uploading it again heals it");
}

#[test]
fn a_file_under_another_name_is_found() {
    let bed = bed();
    let (one, other) = (bed.keep(b"one"), bed.keep(b"two"));
    fs::copy(bed.path(one.file), bed.path(other.file)).unwrap();
    assert!(matches!(verify(&bed.objects, other.file, 3), Err(ObjectError::Damaged { .. })));
    assert!(matches!(verify(&bed.objects, one.file, 4), Err(ObjectError::Damaged { .. })), "another size");
}

#[test]
fn what_is_being_uploaded_is_not_removed() {
    let bed = bed();
    let (first, second) = (bed.keep(b"a file"), bed.keep(b"a file"));
    let file = first.file;
    drop(first);
    assert!(!bed.objects.condemn(file), "the second upload needs it");
    assert!(!bed.objects.remove(file).unwrap());
    drop(second);
    assert!(bed.objects.condemn(file));
    drop(bed.keep(b"a file"));
    assert!(!bed.objects.remove(file).unwrap(), "it came again after it was condemned");
    assert!(bed.objects.condemn(file));
    assert!(bed.objects.remove(file).unwrap());
    assert!(matches!(bed.read(file), Err(ObjectError::Missing(_))));
    assert!(bed.listed().is_empty());
}

#[test]
fn only_the_owner_may_read() {
    use std::os::unix::fs::PermissionsExt;
    let bed = bed();
    let kept = bed.keep(b"private");
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let path = bed.path(kept.file);
    assert_eq!((mode(path.parent().unwrap().to_owned()), mode(path)), (0o700, 0o600));
}
