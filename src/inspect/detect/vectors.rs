/// What a machine has to look at many bytes at once with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Vectors {
    /// Nothing: byte by byte.
    #[default]
    None,
    /// AVX2, BMI1, BMI2, LZCNT and POPCNT.
    Avx2,
    /// These, and of AVX-512 F, BW, VBMI and VBMI2.
    Avx512,
}

impl Vectors {
    /// The best that this machine has.
    pub fn of_machine() -> Vectors {
        #[cfg(target_arch = "x86_64")]
        return if !(is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt"))
        {
            Vectors::None
        } else if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vbmi")
            && is_x86_feature_detected!("avx512vbmi2")
        {
            Vectors::Avx512
        } else {
            Vectors::Avx2
        };
        #[cfg(not(target_arch = "x86_64"))]
        return Vectors::None;
    }
}
