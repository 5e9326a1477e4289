# Finds ggml, whose base library reads GGUF files. Looked for in this order: -Dggml_DIR or the environment's ggml_DIR; what
# scripts/setup fetched into .deps; what is installed where CMake looks. With -DS3D_FETCH_GGML=ON, and never without it,
# its sources are fetched and built first.
set(S3D_FETCH_GGML OFF CACHE BOOL "Fetch ggml's sources with git and build them while configuring")
set(S3D_GGML_REPOSITORY https://github.com/ggml-org/ggml CACHE STRING "Where S3D_FETCH_GGML fetches ggml from")
# Version 0.20.2, the commit that the ggml of scripts/setup was built from.
set(S3D_GGML_COMMIT 8c63e70982c95ceb862e3a1073a2c1beef75d60a CACHE STRING "The commit that S3D_FETCH_GGML fetches")

function(s3d_run what)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${what} failed:\n${output}")
  endif()
endfunction()

# Installs ggml's base library to BUILD/ggml and sets ggml_DIR. Its compute backends are not used, so none is built.
function(s3d_fetch_ggml)
  set(root ${PROJECT_BINARY_DIR}/ggml)
  if(NOT EXISTS ${root}/lib/cmake/ggml/ggml-config.cmake)
    find_package(Git REQUIRED)
    message(STATUS "Fetching ggml ${S3D_GGML_COMMIT} from ${S3D_GGML_REPOSITORY}, building it")
    file(REMOVE_RECURSE ${root})
    set(git ${GIT_EXECUTABLE} -C ${root}/source)
    s3d_run("git init" ${GIT_EXECUTABLE} init --quiet ${root}/source)
    s3d_run("fetching ggml from ${S3D_GGML_REPOSITORY}" ${git} fetch --quiet --depth 1 ${S3D_GGML_REPOSITORY}
      ${S3D_GGML_COMMIT})
    s3d_run("checking out ggml" ${git} checkout --quiet FETCH_HEAD)
    s3d_run("configuring ggml" ${CMAKE_COMMAND} -S ${root}/source -B ${root}/build -G ${CMAKE_GENERATOR}
      -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=${root} -DCMAKE_INSTALL_LIBDIR=lib -DGGML_NATIVE=OFF
      -DGGML_CPU=OFF -DGGML_BUILD_TESTS=OFF -DGGML_BUILD_EXAMPLES=OFF)
    s3d_run("building ggml" ${CMAKE_COMMAND} --build ${root}/build --target install --parallel)
  endif()
  set(ggml_DIR ${root}/lib/cmake/ggml CACHE PATH "ggml's CMake package" FORCE)
endfunction()

if(S3D_FETCH_GGML)
  s3d_fetch_ggml()
elseif(NOT ggml_DIR AND NOT DEFINED ENV{ggml_DIR} AND EXISTS ${PROJECT_SOURCE_DIR}/.deps/ggml_dir)
  file(STRINGS ${PROJECT_SOURCE_DIR}/.deps/ggml_dir ggml_DIR LIMIT_COUNT 1)
endif()
find_package(ggml QUIET)
if(NOT ggml_FOUND)
  message(FATAL_ERROR "ggml was not found: neither ggml_DIR, nor .deps (scripts/setup), nor an installed package names it. "
    "Do one of these:\n"
    "  scripts/setup --ggml       fetches a built one into .deps/ggml (x86-64; needs python3 with venv and pip)\n"
    "  -DS3D_FETCH_GGML=ON        fetches its sources with git and builds them\n"
    "  -Dggml_DIR=FOLDER          names the folder of its ggml-config.cmake\n"
    "docs/install.md says more.")
endif()

# What was fetched is installed with S3D, so that the installation stands alone; a ggml of the user's stays where it is.
set(s3d_ggml_dir ${CMAKE_INSTALL_LIBDIR}/s3d/ggml)
get_filename_component(s3d_ggml_libraries ${ggml_DIR}/../.. REALPATH)
get_filename_component(s3d_ggml_libdir ${s3d_ggml_libraries} NAME)
get_filename_component(deps ${PROJECT_SOURCE_DIR}/.deps/ggml REALPATH)
string(FIND "${s3d_ggml_libraries}/" "${deps}/" ggml_in_deps)
if(ggml_in_deps EQUAL 0 OR S3D_FETCH_GGML)
  set(s3d_ggml_bundled TRUE)
else()
  set(s3d_ggml_bundled FALSE)
endif()
