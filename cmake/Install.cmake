# libs3d: the object code of every folder from base to engine in one library, installed with its headers, a CMake
# package and a pkg-config file, so that `find_package(s3d)` or `pkg-config s3d` is all that a program needs.
# Shared unless -DBUILD_SHARED_LIBS=OFF. Component `runtime` is what the program needs, `dev` what its developers need.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)

set(s3d_parts base file quant kernels model backend decode jinja text engine)
if(S3D_CUDA)
  list(APPEND s3d_parts cuda)
endif()
set(s3d_objects ${s3d_parts})
list(TRANSFORM s3d_objects REPLACE "(.+)" "$<TARGET_OBJECTS:s3d_\\1>")

add_library(libs3d ${s3d_objects})
set_target_properties(libs3d PROPERTIES OUTPUT_NAME s3d EXPORT_NAME s3d LINKER_LANGUAGE CXX
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
target_compile_features(libs3d PUBLIC cxx_std_20)
target_include_directories(libs3d PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
if(NOT S3D_SANITIZE)
  target_link_options(libs3d PRIVATE $<$<PLATFORM_ID:Linux>:-Wl,--no-undefined>)
endif()
if(S3D_CUDA_CARDS)
  get_target_property(s3d_cuda_objects s3d_cuda S3D_CARD_OBJECTS)  # not among the TARGET_OBJECTS: nvcc made them
  set_source_files_properties(${s3d_cuda_objects} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
  target_sources(libs3d PRIVATE ${s3d_cuda_objects})
  add_dependencies(libs3d s3d_cuda)
  target_link_libraries(libs3d PRIVATE ${S3D_CUDART} ${CMAKE_DL_LIBS} rt)
endif()
target_link_libraries(libs3d PRIVATE ggml::ggml-base fmt::fmt Threads::Threads PkgConfig::PCRE2 PkgConfig::UTF8PROC)

# The public headers need nothing but the standard library; all others stay private.
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/s3d DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT dev
  FILES_MATCHING PATTERN "*.h")

install(TARGETS libs3d EXPORT s3dTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime NAMELINK_COMPONENT dev
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT dev)
install(FILES ${PROJECT_SOURCE_DIR}/adapters/index.json DESTINATION ${CMAKE_INSTALL_DATADIR}/s3d/adapters
  COMPONENT runtime)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/adapters/ DESTINATION ${CMAKE_INSTALL_DATADIR}/s3d/adapters COMPONENT runtime
  FILES_MATCHING PATTERN "*.gguf")
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/NOTICE ${PROJECT_SOURCE_DIR}/README.md
  ${PROJECT_SOURCE_DIR}/CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT runtime)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/docs COMPONENT runtime)

set(s3d_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/s3d)
install(EXPORT s3dTargets NAMESPACE s3d:: DESTINATION ${s3d_package_dir} COMPONENT dev)
if(s3d_ggml_bundled)
  # The ggml that scripts/setup fetched comes along, so that the installation stands without this checkout: for the
  # program its base library alone.
  get_filename_component(ggml_root ${s3d_ggml_libraries}/.. ABSOLUTE)
  file(GLOB ggml_base ${s3d_ggml_libraries}/libggml-base.so.?)
  get_filename_component(ggml_base_name ${ggml_base} NAME)
  get_filename_component(ggml_base_file ${ggml_base} REALPATH)  # it may be a link to a file that is not installed
  install(PROGRAMS ${ggml_base_file} RENAME ${ggml_base_name} DESTINATION ${s3d_ggml_dir}/${s3d_ggml_libdir}
    COMPONENT runtime)
  install(DIRECTORY ${ggml_root}/include ${s3d_ggml_libraries} DESTINATION ${s3d_ggml_dir} COMPONENT dev
    PATTERN ${ggml_base_name} EXCLUDE)
  set(S3D_PACKAGE_GGML "\${PACKAGE_PREFIX_DIR}/${s3d_ggml_dir}/${s3d_ggml_libdir}/cmake/ggml")
  set(S3D_PC_GGML_LIBS "-L\${libdir}/s3d/ggml/${s3d_ggml_libdir} -lggml-base")
else()
  set(S3D_PACKAGE_GGML "${ggml_DIR}")
  get_filename_component(ggml_root ${s3d_ggml_libraries}/.. ABSOLUTE)
  set(S3D_PC_GGML_LIBS "-L${s3d_ggml_libraries} -lggml-base")
endif()
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/s3dConfig.cmake.in ${PROJECT_BINARY_DIR}/s3dConfig.cmake
  INSTALL_DESTINATION ${s3d_package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/s3dConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/s3dConfig.cmake ${PROJECT_BINARY_DIR}/s3dConfigVersion.cmake
  DESTINATION ${s3d_package_dir} COMPONENT dev)

# A path relative to the file itself: `pkg-config` follows an installation that was moved.
set(s3d_pc_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH S3D_PC_PREFIX /${s3d_pc_dir} /)
string(REGEX REPLACE "/$" "" S3D_PC_PREFIX "${S3D_PC_PREFIX}")
configure_file(${CMAKE_CURRENT_LIST_DIR}/s3d.pc.in ${PROJECT_BINARY_DIR}/s3d.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/s3d.pc DESTINATION ${s3d_pc_dir} COMPONENT dev)
