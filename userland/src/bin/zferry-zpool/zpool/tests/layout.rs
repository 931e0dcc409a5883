//! The structures of `sys` have C's layout.

use std::mem::{offset_of, size_of};

use super::super::sys;

/// Compiles the header with the sizes and offsets as Rust has them: C's
/// compiler refuses any that differ.
#[test]
fn structures_are_laid_out_as_in_c() {
    let mut source = String::from("#include \"zpool_shim.h\"\n");
    let mut claim = |text: String| source.push_str(&format!("_Static_assert({text}, \"\");\n"));
    macro_rules! same {
        ($c:ident, $rust:ident: $($field:ident)*) => {
            claim(format!("sizeof ({}) == {}", stringify!($c), size_of::<sys::$rust>()));
            $(claim(format!(
                "offsetof({}, {}) == {}",
                stringify!($c), stringify!($field), offset_of!(sys::$rust, $field)
            ));)*
        };
    }
    same!(zs_names_t, Names: at count);
    same!(zs_property_t, Property: name text number);
    same!(zs_properties_t, Properties: at count);
    same!(zs_items_t, Items: take context);
    same!(zs_label_t, Label: pool newer several_vdevs bytes_min);
    same!(zs_scrub_t, Scrub: examined_bytes repaired_bytes errors);
    same!(zs_dataset_t, Dataset: name volume guid written_bytes volume_bytes origin
        encryption_root resume_token key_loaded);
    same!(zs_point_t, Point: name guid createtxg creation written_bytes holds clones ivset);
    same!(zs_walk_t, Walk: context dataset property point);
    same!(zs_send_t, Send: snapshot base embed_data large_block compress raw resume_object
        resume_offset);
    same!(zs_receive_t, Receive: snapshot begin origin resumable received local);
    same!(zs_token_t, Token: to_name to_guid from_guid incremental object offset bytes
        embed_data large_block compress raw);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("layout.c");
    std::fs::write(&file, source).unwrap();
    let output = std::process::Command::new("cc")
        .args([
            "-fsyntax-only",
            "-I",
            concat!(env!("CARGO_MANIFEST_DIR"), "/shim"),
        ])
        .arg(&file)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
