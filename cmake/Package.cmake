# `cpack` in the build folder makes s3d_VERSION_ARCH.deb (the program, libs3d, ggml's base library, the adapters, the
# manual) and s3d-dev_VERSION_ARCH.deb (headers, CMake package, pkg-config file).
set(CPACK_PACKAGE_NAME s3d)
set(CPACK_PACKAGE_VENDOR "The S3D authors")
set(CPACK_PACKAGE_CONTACT "The S3D authors <maintainers@s3d.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Language models on CPUs, decoded faster by speculation of their own")
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_GENERATOR DEB)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL runtime dev)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_ENABLE_COMPONENT_DEPENDS ON)
set(CPACK_COMPONENT_DEV_DEPENDS runtime)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME s3d)
set(CPACK_DEBIAN_DEV_PACKAGE_NAME s3d-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
string(CONCAT CPACK_COMPONENT_RUNTIME_DESCRIPTION
  "S3D runs language models in GGUF files on ordinary CPUs. The model drafts tokens for\n"
  "itself and one pass verifies several, so that answers come faster and no token changes.")
set(CPACK_COMPONENT_DEV_DESCRIPTION "Headers, CMake package and pkg-config file of libs3d, the library of the program s3d.")
# What the programs link decides what the package depends on; ggml's base library is in the package itself.
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SHLIBDEPS ON)
if(s3d_ggml_bundled)
  set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${s3d_ggml_libraries})
endif()
set(CPACK_DEBIAN_RUNTIME_PACKAGE_RECOMMENDS "ca-certificates")
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS "libfmt-dev, libpcre2-dev")
include(CPack)
