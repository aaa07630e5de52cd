//! What this processor can do, beyond what every build asks of one.

/// The variable that turns AVX-512 off, with `off`: to see on a processor that has it what one without it does.
#[cfg(target_arch = "x86_64")]
const VARIABLE: &str = "CRATON_AVX512";

/// The parts of AVX-512 that kernels here are written for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Avx512 {
    /// Sixteen numbers at once.
    pub numbers: bool,
    /// And sums of products of bytes, by the four (VNNI).
    pub bytes: bool,
    /// And all that blocks of a model's weights take to unpack.
    pub blocks: bool,
}

/// What there is of AVX-512, found out once.
#[cfg(target_arch = "x86_64")]
pub(crate) fn avx512() -> Avx512 {
    static FOUND: std::sync::OnceLock<Avx512> = std::sync::OnceLock::new();
    *FOUND.get_or_init(|| {
        if std::env::var_os(VARIABLE).is_some_and(|value| value == "off") {
            return Avx512::default();
        }
        let numbers = is_x86_feature_detected!("avx512f");
        let bytes = numbers && is_x86_feature_detected!("avx512vnni");
        let blocks = bytes
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("f16c");
        Avx512 { numbers, bytes, blocks }
    })
}

/// Nothing: these are another maker's processors.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn avx512() -> Avx512 {
    Avx512::default()
}
