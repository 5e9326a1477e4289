# libs3d: the object code of every folder from base to engine in one library, installed with its headers and a CMake
# package, so that `find_package(s3d)` and linking `s3d::s3d` is all that a program needs.
# Shared unless -DBUILD_SHARED_LIBS=OFF.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)

set(s3d_parts base file quant kernels model backend decode text engine)
set(s3d_objects ${s3d_parts})
list(TRANSFORM s3d_objects REPLACE "(.+)" "$<TARGET_OBJECTS:s3d_\\1>")

add_library(libs3d ${s3d_objects})
set_target_properties(libs3d PROPERTIES OUTPUT_NAME s3d EXPORT_NAME s3d LINKER_LANGUAGE CXX
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
target_compile_features(libs3d PUBLIC cxx_std_20)
target_include_directories(libs3d PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/s3d>)
if(NOT S3D_SANITIZE)
  target_link_options(libs3d PRIVATE $<$<PLATFORM_ID:Linux>:-Wl,--no-undefined>)
endif()
target_link_libraries(libs3d PUBLIC ggml::ggml-base PRIVATE fmt::fmt Threads::Threads PkgConfig::PCRE2 PkgConfig::UTF8PROC)

install(TARGETS libs3d EXPORT s3dTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
foreach(part ${s3d_parts})
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/src/${part} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/s3d
    FILES_MATCHING PATTERN "*.h" PATTERN "*-inl.h" EXCLUDE PATTERN "*test*" EXCLUDE PATTERN "simde" EXCLUDE)
endforeach()

install(DIRECTORY ${PROJECT_SOURCE_DIR}/adapters/ DESTINATION ${CMAKE_INSTALL_DATADIR}/s3d/adapters
  FILES_MATCHING PATTERN "*.gguf")

set(s3d_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/s3d)
install(EXPORT s3dTargets NAMESPACE s3d:: DESTINATION ${s3d_package_dir})
if(s3d_ggml_bundled)
  # The ggml that scripts/setup fetched comes along, so that the installation stands without this checkout.
  get_filename_component(ggml_root ${ggml_DIR}/../../.. ABSOLUTE)
  install(DIRECTORY ${ggml_root}/include ${ggml_root}/lib64 DESTINATION ${s3d_ggml_dir})
  set(S3D_PACKAGE_GGML "\${PACKAGE_PREFIX_DIR}/${s3d_ggml_dir}/lib64/cmake/ggml")
else()
  set(S3D_PACKAGE_GGML "${ggml_DIR}")
endif()
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/s3dConfig.cmake.in ${PROJECT_BINARY_DIR}/s3dConfig.cmake
  INSTALL_DESTINATION ${s3d_package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/s3dConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/s3dConfig.cmake ${PROJECT_BINARY_DIR}/s3dConfigVersion.cmake
  DESTINATION ${s3d_package_dir})
