# s3d_library(NAME [DEPS target…]): one static library per folder of src/ from its *.cc files, and, when tests are
# on, one GoogleTest program per *_test.cc beside them. The link line lists what the folder may use; the direction of
# includes is checked by scripts/check-includes.
function(s3d_library name)
  cmake_parse_arguments(ARG "" "" "DEPS;TEST_DEPS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  add_library(s3d_${name} STATIC ${sources})
  target_include_directories(s3d_${name} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>)
  target_link_libraries(s3d_${name} PUBLIC ${ARG_DEPS})
  if(S3D_TESTS)
    foreach(test ${tests})
      s3d_test(${test} DEPS s3d_${name} ${ARG_TEST_DEPS})
    endforeach()
  endif()
endfunction()

# s3d_test(FILE DEPS target…): a GoogleTest program; ctest runs each of its test cases.
function(s3d_test file)
  cmake_parse_arguments(ARG "" "" "DEPS" ${ARGN})
  get_filename_component(test_name ${file} NAME_WE)
  add_executable(${test_name} ${file})
  target_link_libraries(${test_name} PRIVATE ${ARG_DEPS} GTest::gmock GTest::gtest_main)
  target_compile_definitions(${test_name} PRIVATE S3D_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  gtest_discover_tests(${test_name} DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 600)
endfunction()
