use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;

use crate::Error;

/// Where the network is computed. GPU devices need the Cargo feature of their name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DeviceName {
    /// burn's `flex` CPU device, on all cores that rayon's current thread pool may use.
    #[default]
    Cpu,
    /// The CUDA device of this index.
    Cuda(usize),
    /// The ROCm device of this index.
    Rocm(usize),
    /// The best GPU that wgpu finds, by whatever interface it prefers.
    Wgpu,
    /// The best GPU that wgpu finds through Vulkan.
    Vulkan,
    /// The GPU that wgpu finds through Metal.
    Metal,
}

impl DeviceName {
    /// burn's device with gradient recording on, or [`Error::DeviceNotBuilt`].
    pub(crate) fn open(self) -> Result<Device, Error> {
        let not_built = |feature| Err(Error::DeviceNotBuilt { device: self.to_string(), feature });
        let device = match self {
            Self::Cpu => Ok(Device::flex()),
            #[cfg(feature = "cuda")]
            Self::Cuda(index) => Ok(Device::cuda(index)),
            #[cfg(not(feature = "cuda"))]
            Self::Cuda(_) => not_built("cuda"),
            #[cfg(feature = "rocm")]
            Self::Rocm(index) => Ok(Device::rocm(index)),
            #[cfg(not(feature = "rocm"))]
            Self::Rocm(_) => not_built("rocm"),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => Ok(Device::wgpu(Default::default())),
            #[cfg(not(feature = "wgpu"))]
            Self::Wgpu => not_built("wgpu"),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => Ok(Device::vulkan(Default::default())),
            #[cfg(not(feature = "vulkan"))]
            Self::Vulkan => not_built("vulkan"),
            #[cfg(feature = "metal")]
            Self::Metal => Ok(Device::metal(Default::default())),
            #[cfg(not(feature = "metal"))]
            Self::Metal => not_built("metal"),
        }?;
        Ok(device.autodiff())
    }

    /// The error for a failure that burn reports.
    pub(crate) fn failed(self, message: impl fmt::Display) -> Error {
        Error::Device { device: self.to_string(), message: message.to_string() }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::Rocm(index) => write!(f, "rocm:{index}"),
            Self::Wgpu => f.write_str("wgpu"),
            Self::Vulkan => f.write_str("vulkan"),
            Self::Metal => f.write_str("metal"),
        }
    }
}

impl FromStr for DeviceName {
    type Err = Error;

    /// Reads `cpu`, `cuda`, `cuda:1`, `rocm`, `rocm:1`, `wgpu`, `vulkan` or `metal`.
    fn from_str(name: &str) -> Result<Self, Error> {
        let indexed = |prefix: &str| match name.strip_prefix(prefix)? {
            "" => Some(0),
            rest => rest.strip_prefix(':')?.parse().ok(),
        };
        match name {
            "cpu" => return Ok(Self::Cpu),
            "wgpu" => return Ok(Self::Wgpu),
            "vulkan" => return Ok(Self::Vulkan),
            "metal" => return Ok(Self::Metal),
            _ => {}
        }
        if let Some(index) = indexed("cuda") {
            return Ok(Self::Cuda(index));
        }
        if let Some(index) = indexed("rocm") {
            return Ok(Self::Rocm(index));
        }
        Err(Error::UnknownName {
            what: "device",
            name: name.to_owned(),
            valid: "cpu, cuda[:N], rocm[:N], wgpu, vulkan, metal".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_others_are_refused() {
        for name in ["cpu", "cuda:0", "cuda:3", "rocm:1", "wgpu", "vulkan", "metal"] {
            assert_eq!(name.parse::<DeviceName>().unwrap().to_string(), name);
        }
        assert_eq!("cuda".parse::<DeviceName>().unwrap(), DeviceName::Cuda(0));
        for name in ["", "gpu", "cuda:", "cuda:x", "cuda1", "CPU"] {
            let message = name.parse::<DeviceName>().unwrap_err().to_string();
            assert!(message.contains("cpu, cuda"), "{message}");
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_device_that_is_not_built_in_names_the_feature() {
        let message = DeviceName::Cuda(0).open().unwrap_err().to_string();
        assert!(message.contains("--features cuda"), "{message}");
    }
}
