//! Entry points of the fuzz targets.

pub(crate) fn kernel_types(bytes: &[u8]) {
    super::btf::look_up(bytes);
}
