use super::header::{Header, Layout};

const TEXT: &str = "
#define NAME_LEN 16U
#define NAMED_FLAG (1UL << 3) /* with a comment */
enum cmd {
	FIRST,
	SECOND, /* in between */
	TENTH = 10,
	ALIAS = SECOND,
	AFTER,
};
enum { FLAG = (1U << 31), };
union bpf_attr {
	struct { /* anonymous struct used by X command */
		__u32	fd;	/* a descriptor */
		__aligned_u64	key;
		union {
			__aligned_u64 value;
			__aligned_u64 next;
		};
		char	name[NAME_LEN];
		__u32	last;
	};
	struct {
		__u32	:32;
		__u32	a:1, /* one */
			b:31;
		union {
			__u32 small;
			struct {
				__aligned_u64 path;
				__u32 flags;
			} large;
		};
	} named;
} __attribute__((aligned(8)));
";

fn fields(layout: &Layout) -> Vec<String> {
    layout.fields.iter().map(|f| format!("{} {}: {}", f.offset, f.name, f.ty)).collect()
}

#[test]
fn evaluates_definitions_and_enumerators() {
    let header = Header::parse(TEXT);
    for (name, value) in [
        ("NAME_LEN", 16),
        ("NAMED_FLAG", 8),
        ("FIRST", 0),
        ("SECOND", 1),
        ("TENTH", 10),
        ("ALIAS", 1),
        ("AFTER", 2),
        ("FLAG", 1 << 31),
    ] {
        assert_eq!(header.constant(name), Some(value), "{name}");
    }
    assert_eq!(header.constant("fd"), None);
}

#[test]
fn lays_fields_out_as_c_with_explicit_padding() {
    let header = Header::parse(TEXT);
    let members = header.commented("anonymous struct used by X command").unwrap();
    let layout = Layout::new(&members, &[]).unwrap();
    assert_eq!(
        fields(&layout),
        [
            "0 fd: u32",
            "4 padding_4: [u8; 4]",
            "8 key: u64",
            "16 value: u64",
            "24 name: [u8; 16]",
            "40 last: u32",
            "44 padding_44: [u8; 4]"
        ]
    );
    assert_eq!(layout.size, 48);
}

#[test]
fn chooses_a_member_of_a_union() {
    let header = Header::parse(TEXT);
    let attr = header.tagged("union", "bpf_attr").unwrap();
    let members = header.member(&attr, "named").unwrap();
    let layout = Layout::new(&members, &["large"]).unwrap();
    assert_eq!(
        fields(&layout),
        [
            "0 bits_0: u32",
            "4 bits_4: u32",
            "8 large_path: u64",
            "16 large_flags: u32",
            "20 padding_20: [u8; 4]"
        ]
    );
    assert!(header.member(&attr, "other").is_err());
}
