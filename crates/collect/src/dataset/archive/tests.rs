use flate2::Compression;
use flate2::write::GzEncoder;
use zip::write::SimpleFileOptions;

use super::*;

const ARCHIVE: Archive = Archive { folder: "data", max_bytes: 100, max_entries: 5 };

/// A tar file of these entries, whose names are written as they are.
pub(in super::super) fn tar_gz(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (name, content) in entries {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_entry_type(if name.ends_with('/') { tar::EntryType::Directory } else { tar::EntryType::Regular });
        header.set_cksum();
        tar.append(&header, *content).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// A zip file of these entries.
pub(in super::super) fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    for (name, content) in entries {
        if name.ends_with('/') {
            zip.add_directory(*name, SimpleFileOptions::default()).unwrap();
        } else {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(content).unwrap();
        }
    }
    zip.finish().unwrap().into_inner()
}

type Unpack = fn(&Path, &Path, &Archive, &dyn DataProgress) -> Result<(), Error>;
type Pack = fn(&[(&str, &[u8])]) -> Vec<u8>;
const KINDS: [(&str, Pack, Unpack); 2] = [("a.tar.gz", tar_gz, unpack_tar_gz), ("a.zip", zip, unpack_zip)];

/// Unpacks in a fresh folder; gives the folder and what came of it.
fn unpacked(name: &str, bytes: &[u8], unpack: Unpack) -> (tempfile::TempDir, Result<(), String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    let result = unpack(&path, folder.path(), &ARCHIVE, &()).map_err(|error| error.to_string());
    (folder, result)
}

fn n_entries(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn folders_come_out() {
    for (name, pack, unpack) in KINDS {
        let bytes = pack(&[("data/", b""), ("data/a", b"one"), ("data/b/c", b"two"), ("data/d/", b"")]);
        let (folder, result) = unpacked(name, &bytes, unpack);
        result.unwrap();
        let data = folder.path().join("data");
        assert_eq!(
            (fs::read(data.join("a")).unwrap(), fs::read(data.join("b/c")).unwrap()),
            (b"one".into(), b"two".into())
        );
        assert!(data.join("d").is_dir());
        assert_eq!(n_entries(folder.path()), 2, "the archive and its folder");
    }
}

#[test]
fn flipped_bits_are_unpacked_in_the_folder_or_refused() {
    for (name, pack, unpack) in KINDS {
        let bytes = pack(&[("data/", b""), ("data/a", b"one"), ("data/b/c", b"two")]);
        // A file for each bit takes its time; seven go through all places in a byte.
        for bit in (0..8 * bytes.len()).step_by(7) {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let (folder, result) = unpacked(name, &bytes, unpack);
            // The archive, and its folder if it was unpacked.
            assert_eq!(n_entries(folder.path()), 1 + usize::from(result.is_ok()), "{name}: bit {bit}: {result:?}");
        }
    }
}

#[test]
fn nothing_gets_out_of_the_folder() {
    for (name, pack, unpack) in KINDS {
        for bad in ["../x", "/tmp/x", "data/../x", "data/../../x", "other/x", "x"] {
            let (folder, result) = unpacked(name, &pack(&[("data/a", b"one"), (bad, b"bad")]), unpack);
            let message = result.unwrap_err();
            assert!(message.contains(name) && message.contains("outside its folder data"), "{message}");
            assert_eq!(n_entries(folder.path()), 1, "{bad}: only the archive is left");
        }
    }
}

#[test]
fn links_are_refused() {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    tar.append_link(&mut header, "data/link", "/etc").unwrap();
    let bytes = tar.into_inner().unwrap().finish().unwrap();
    let message = unpacked("a.tar.gz", &bytes, unpack_tar_gz).1.unwrap_err();
    assert!(message.contains("data/link is neither file nor folder"), "{message}");

    let mut zip = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    zip.add_symlink("data/link", "/etc", SimpleFileOptions::default()).unwrap();
    let message = unpacked("a.zip", &zip.finish().unwrap().into_inner(), unpack_zip).1.unwrap_err();
    assert!(message.contains("data/link is neither file nor folder"), "{message}");
}

#[test]
fn sizes_are_bounded() {
    for (name, pack, unpack) in KINDS {
        unpacked(name, &pack(&[("data/a", &[0; 60]), ("data/b", &[0; 40])]), unpack).1.unwrap();
        let (folder, result) = unpacked(name, &pack(&[("data/a", &[0; 60]), ("data/b", &[0; 41])]), unpack);
        let message = result.unwrap_err();
        assert!(message.contains("much larger"), "{message}");
        assert_eq!(n_entries(folder.path()), 1);
        let many: Vec<String> = (0..6).map(|i| format!("data/{i}")).collect();
        let many: Vec<(&str, &[u8])> = many.iter().map(|name| (name.as_str(), &b""[..])).collect();
        let message = unpacked(name, &pack(&many), unpack).1.unwrap_err();
        assert!(message.contains("many more files"), "{message}");
    }
}

#[test]
fn damaged_archives_leave_nothing() {
    for (name, pack, unpack) in KINDS {
        let bytes = pack(&[("data/a", b"some content"), ("data/b", b"some more")]);
        for len in [0, 1, 10, bytes.len() / 2, bytes.len() - 9] {
            let (folder, result) = unpacked(name, &bytes[..len], unpack);
            let message = result.unwrap_err();
            assert!(message.contains(name), "{message}");
            assert_eq!(n_entries(folder.path()), 1, "{message}");
        }
        let (_, result) = unpacked(name, &pack(&[]), unpack);
        assert!(result.unwrap_err().contains("no folder data"));
    }
}

#[test]
fn what_is_there_is_not_overwritten() {
    let (folder, result) = unpacked("a.zip", &zip(&[("data/a", b"one")]), unpack_zip);
    result.unwrap();
    fs::write(folder.path().join("data/a"), "mine").unwrap();
    let again = unpack_zip(&folder.path().join("a.zip"), folder.path(), &ARCHIVE, &()).unwrap_err().to_string();
    assert!(again.contains("remove it"), "{again}");
    assert_eq!(fs::read(folder.path().join("data/a")).unwrap(), b"mine");
}
