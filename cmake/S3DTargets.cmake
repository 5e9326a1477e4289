# s3d_library(NAME [FOLDERS folder…] [DEPS target…]): one static library per folder of src/ from its *.cc files and those of
# the named folders in it, and, when tests are
# on, one GoogleTest program per *_test.cc beside them. The link line lists what the folder may use; the direction of
# includes is checked by scripts/check-includes.
function(s3d_library name)
  cmake_parse_arguments(ARG "" "" "FOLDERS;DEPS;TEST_DEPS" ${ARGN})
  set(patterns ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  foreach(folder ${ARG_FOLDERS})
    list(APPEND patterns ${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*.cc)
  endforeach()
  file(GLOB sources CONFIGURE_DEPENDS ${patterns})
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  add_library(s3d_${name} STATIC ${sources})
  target_include_directories(s3d_${name} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src>
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>)
  target_link_libraries(s3d_${name} PUBLIC ${ARG_DEPS})
  if(S3D_TESTS)
    foreach(test ${tests})
      s3d_test(${test} DEPS s3d_${name} ${ARG_TEST_DEPS})
    endforeach()
  endif()
endfunction()

# s3d_test(FILE DEPS target… [LABEL label]): a GoogleTest program; ctest runs each of its test cases. Under sanitizers ctest
# runs the whole program at once: starting a sanitized program, and its search for leaks at the end, cost more than most cases.
# Tests are compiled at -O1 in release builds: a higher level takes half as long again to compile, and what takes time when
# they run is the libraries.
function(s3d_test file)
  cmake_parse_arguments(ARG "" "LABEL" "DEPS" ${ARGN})
  get_filename_component(test_name ${file} NAME_WE)
  add_executable(${test_name} ${file})
  target_link_libraries(${test_name} PRIVATE ${ARG_DEPS} GTest::gmock GTest::gtest_main)
  target_compile_definitions(${test_name} PRIVATE S3D_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_compile_options(${test_name} PRIVATE $<$<CONFIG:Release>:-O1>)
  set(properties TIMEOUT 600)
  if(S3D_SANITIZE)
    set(properties TIMEOUT 1800)
  endif()
  if(ARG_LABEL)
    list(APPEND properties LABELS ${ARG_LABEL})
  endif()
  if(S3D_SANITIZE)
    add_test(NAME ${test_name} COMMAND ${test_name} --gtest_brief=1)
    set_tests_properties(${test_name} PROPERTIES ${properties})
  else()
    gtest_discover_tests(${test_name} DISCOVERY_TIMEOUT 60 PROPERTIES ${properties})
  endif()
endfunction()
