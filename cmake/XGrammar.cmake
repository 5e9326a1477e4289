# xgrammar's C++ core: grammars over tokens, for JSON schemas, tools and GBNF. Its sources lie in .deps/xgrammar, where
# scripts/setup unpacks them, or where S3D_XGRAMMAR_DIR says; they are compiled here, as a target s3d_xgrammar, because
# its own build compiles with link-time optimization, which takes three times as long.
# S3D_GRAMMAR: ON needs them, AUTO takes them where they are, OFF leaves grammars out: requests for one get an error.
set(S3D_GRAMMAR AUTO CACHE STRING "Grammars and JSON schemas through xgrammar: AUTO, ON or OFF")
set_property(CACHE S3D_GRAMMAR PROPERTY STRINGS AUTO ON OFF)
set(S3D_XGRAMMAR_DIR ${PROJECT_SOURCE_DIR}/.deps/xgrammar CACHE PATH "Sources of xgrammar 0.2.8")

set(s3d_grammar FALSE)
if(S3D_GRAMMAR AND EXISTS ${S3D_XGRAMMAR_DIR}/include/xgrammar/xgrammar.h)
  set(s3d_grammar TRUE)
elseif(S3D_GRAMMAR AND NOT S3D_GRAMMAR STREQUAL AUTO)
  message(FATAL_ERROR "S3D_GRAMMAR=ON, but ${S3D_XGRAMMAR_DIR} holds no sources of xgrammar. Do one of these:\n"
    "  scripts/setup --grammar    fetches them into .deps/xgrammar\n"
    "  -DS3D_XGRAMMAR_DIR=FOLDER  names a folder that holds them, version 0.2.8\n"
    "  -DS3D_GRAMMAR=OFF          builds without grammars and JSON schemas")
endif()

if(s3d_grammar)
  # All but its bindings for Python; its reader of the language Lark is there because others name it. Compiled together
  # in two groups (names of one would clash with names of the other), as they share most of their headers.
  file(GLOB_RECURSE core ${S3D_XGRAMMAR_DIR}/cpp/*.cc)
  list(FILTER core EXCLUDE REGEX "/cpp/tvm_ffi/")
  set(tags ${core})
  list(FILTER tags INCLUDE REGEX "/cpp/(structural_tag|testing|lark_converter|converter_ext/[a-z0-9_]*)\\.cc$")
  list(REMOVE_ITEM core ${tags})
  add_library(s3d_xgrammar STATIC ${core} ${tags})
  set_source_files_properties(${core} PROPERTIES UNITY_GROUP core)
  set_source_files_properties(${tags} PROPERTIES UNITY_GROUP tags)
  set_target_properties(s3d_xgrammar PROPERTIES CXX_STANDARD 17 UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
  target_include_directories(s3d_xgrammar SYSTEM PUBLIC ${S3D_XGRAMMAR_DIR}/include ${S3D_XGRAMMAR_DIR}/3rdparty/dlpack/include
    PRIVATE ${S3D_XGRAMMAR_DIR}/3rdparty/picojson)
  target_compile_definitions(s3d_xgrammar PUBLIC XGRAMMAR_ENABLE_CPPTRACE=0 XGRAMMAR_ENABLE_INTERNAL_CHECK=0
    XGRAMMAR_LOG_CUSTOMIZE=1)  # src/grammar/xgrammar_log.cc takes its messages
  target_compile_options(s3d_xgrammar PRIVATE -w $<$<CONFIG:Release>:-O1>)
endif()
