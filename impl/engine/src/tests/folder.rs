//! Tests with folders of other programs, unfinished folders and folders of newer versions.

use super::{claimed, open, put_bytes, scratch, session};
use crate::{Embedded, Engine, EngineError, FORMAT, Settings};
use std::fs;
use std::path::Path;

fn refused(folder: &Path) -> EngineError {
    Embedded::open(folder, Settings::default()).expect_err("refused")
}

#[test]
fn a_folder_of_a_newer_format_is_refused() {
    let scratch = scratch();
    drop(claimed(scratch.path(), Settings::default()));
    let newer = format!("tenure-engine format {}\n", FORMAT + 1);
    fs::write(scratch.path().join("format"), newer).expect("written");
    let error = refused(scratch.path());
    assert!(matches!(&error, EngineError::Newer { folder, found, known }
        if folder == scratch.path() && (*found, *known) == (FORMAT + 1, FORMAT)));
}

#[test]
fn a_folder_of_another_program_is_refused_and_not_changed() {
    let scratch = scratch();
    let file = scratch.path().join("letters");
    fs::write(&file, "dear").expect("written");
    assert!(matches!(
        refused(scratch.path()),
        EngineError::Foreign { .. }
    ));
    assert!(matches!(refused(&file), EngineError::Io { .. }));
    assert_eq!(super::files(scratch.path()), [file]);

    for text in [
        "",
        "garbage",
        "tenure-engine format x\n",
        "tenure-engine format 0\n",
    ] {
        fs::write(scratch.path().join("format"), text).expect("written");
        assert!(matches!(
            refused(scratch.path()),
            EngineError::Foreign { .. }
        ));
    }
    fs::write(scratch.path().join("format"), [0xFF; 9]).expect("written");
    assert!(matches!(
        refused(scratch.path()),
        EngineError::Foreign { .. }
    ));
}

#[test]
fn an_unreadable_folder_is_refused() {
    let scratch = scratch();
    let folder = scratch.path().join("store");
    let mut engine = claimed(&folder, Settings::default());
    engine.commit(&[put_bytes(1, 1, 1)]).expect("commits");
    drop(engine);
    for name in ["format", "claim", "0000000001.log"] {
        let path = folder.join(name);
        let aside = scratch.path().join("aside");
        fs::rename(&path, &aside).expect("moved");
        // A folder in place of the file is unreadable even for root, who ignores permissions.
        fs::create_dir(&path).expect("a folder");
        match refused(&folder) {
            EngineError::Io { file, .. } => assert_eq!(file, path),
            error => panic!("{error}"),
        }
        fs::remove_dir(&path).expect("removed");
        fs::rename(&aside, &path).expect("moved back");
    }
    for garbage in ["", "garbage", &"garbage".repeat(20)] {
        let path = folder.join("0000000001.log");
        let whole = fs::read(&path).expect("readable");
        fs::write(&path, garbage).expect("written");
        assert!(
            matches!(refused(&folder), EngineError::Corrupt { file, offset: 0, .. } if file == path)
        );
        fs::write(&path, whole).expect("written");
    }
    assert!(
        open(&folder, Settings::default())
            .load(&session(1))
            .expect("loads")
            .is_some()
    );
}

/// A store that crashes at any point of creating its folder leaves no folder or a usable one.
#[test]
fn a_half_created_folder_is_completed_at_the_next_open() {
    for left in [&[][..], &["claim"], &["claim", "format.new"]] {
        let scratch = scratch();
        for name in left {
            fs::write(scratch.path().join(name), "").expect("written");
        }
        assert_eq!(
            open(scratch.path(), Settings::default())
                .claim()
                .expect("a claim"),
            1
        );
    }
    // The same for a crash during the claim.
    let scratch = scratch();
    drop(open(scratch.path(), Settings::default()));
    let draft = scratch.path().join("0000000001-1.new");
    fs::write(&draft, "half").expect("written");
    assert_eq!(
        open(scratch.path(), Settings::default())
            .claim()
            .expect("a claim"),
        1
    );
    assert!(!draft.exists());
}
