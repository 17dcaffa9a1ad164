# The command line and the page:
#   docker build -t usrnet .
#   docker run --rm -v "$PWD:/pictures" usrnet restore photo.jpg --scale 2
#   docker run --rm -p 7860:7860 -e USRNET_PASSWORD=... usrnet
# torch comes from the usual index, which has it for CUDA on x86-64 (`docker run --gpus all`; it runs on CPUs too). A
# third of the size is a build for CPUs alone: --build-arg TORCH_INDEX= with the address that torch's install page names.
ARG PYTHON=3.11
FROM python:${PYTHON}-slim AS build
ARG TORCH_INDEX=
ARG EXTRAS=web,hub
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/usrnet
ENV PATH=/opt/usrnet/bin:$PATH
WORKDIR /src
COPY constraints.txt ./
RUN pip install -c constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY src ./src
RUN pip install -c constraints.txt ".[$EXTRAS]"

FROM python:${PYTHON}-slim
RUN useradd --create-home --uid 1000 usrnet \
    && mkdir /pictures /weights \
    && chown usrnet:usrnet /pictures /weights
COPY --from=build /opt/usrnet /opt/usrnet
ENV PATH=/opt/usrnet/bin:$PATH PYTHONUNBUFFERED=1 USRNET_HOME=/weights GRADIO_ANALYTICS_ENABLED=False
USER 1000
WORKDIR /pictures
VOLUME ["/pictures", "/weights"]
EXPOSE 7860
# Of the page; a container that runs another command ends before it is asked.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860', timeout=8).close()"]
ENTRYPOINT ["usrnet"]
CMD ["web", "--host", "0.0.0.0"]
