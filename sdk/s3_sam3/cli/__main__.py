from s3_sam3.cli import main


if __name__ == "__main__":
    main()
